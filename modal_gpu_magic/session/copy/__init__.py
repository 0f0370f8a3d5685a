"""Copies files between this machine, Volumes and the session's container."""
