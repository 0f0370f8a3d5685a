"""Captures the output of a cell and sends it out of the container as events."""
