"""Start-up, stop signals, log lines."""
