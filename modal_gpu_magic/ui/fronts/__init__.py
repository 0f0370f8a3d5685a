"""What shows a run."""
