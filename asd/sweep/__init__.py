"""Many runs and their table: `python -m asd.sweep`."""
