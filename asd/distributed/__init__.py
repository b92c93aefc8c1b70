"""Ranks: how they start, compute and talk."""
