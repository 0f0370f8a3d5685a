"""Runs cells in a container: sends what changed, waits for the answer, writes returned values back."""
