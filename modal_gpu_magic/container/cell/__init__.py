"""Runs a cell in IPython, and packs its failure for the notebook."""
