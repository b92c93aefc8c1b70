"""A detector beside a running machine: sound comes in without end, alarms go out."""
