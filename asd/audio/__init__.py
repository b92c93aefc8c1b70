"""Recordings as people have them: any rate, any number of channels, any length."""
