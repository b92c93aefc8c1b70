"""The settings of a run: read, checked, explained, and built into what they describe."""
