"""Recordings → score and decision of each: what `eval.py clips` does."""
