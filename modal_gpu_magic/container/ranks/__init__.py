"""Runs a cell in several processes (ranks), started by torchrun."""
