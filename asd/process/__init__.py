"""Being started, being asked to stop, and the last word."""
