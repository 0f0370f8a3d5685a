"""Runs a cell in several processes by torchrun."""
