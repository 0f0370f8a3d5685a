"""What shows a run: in a notebook, in a terminal, on pages that were loaded anew."""
