"""Text for shells, terminals and markdown."""
