"""The user interface: magics, the display of runs, receipts, widgets and completion."""
