"""Remote packed sets, cached on this machine."""
