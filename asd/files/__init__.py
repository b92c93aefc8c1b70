"""Files: written whole, read safely, walked, locked, and fetched from elsewhere."""
