"""Runs a cell in IPython, and makes its failure ready to travel."""
