"""Files: atomic writes, safe reading, listing, locks, downloads."""
