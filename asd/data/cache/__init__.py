"""Packed sets that live elsewhere, cached on this machine."""
