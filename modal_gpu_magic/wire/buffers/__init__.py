"""Stores and hashes the large buffers of a transfer."""
