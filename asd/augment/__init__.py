"""Augmentation: applied in training only."""
