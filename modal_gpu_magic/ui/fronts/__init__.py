"""Fronts, which show a run in a notebook, in a terminal, and on pages loaded while the run goes on."""
