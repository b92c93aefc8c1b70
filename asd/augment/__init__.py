"""What happens to clips in training only."""
