"""Monitoring of a run: its status as a file, alerts, and a watchdog that names the stalled rank."""
