"""A run seen from outside: its status as a file, alerts, and a watchdog that names who holds it up."""
