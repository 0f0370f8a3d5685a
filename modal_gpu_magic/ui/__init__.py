"""What the user sees: magics, the output of a run, receipts, widgets, completion."""
