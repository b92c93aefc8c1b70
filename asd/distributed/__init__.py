"""Ranks: start, devices, communication."""
