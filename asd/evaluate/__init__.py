"""When checkpoints are scored, and how: embed, score, store, compare."""
