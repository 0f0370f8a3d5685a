"""Computes machine, names, packages and price of a cell before anything is sent."""
