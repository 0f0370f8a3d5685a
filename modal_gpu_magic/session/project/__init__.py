"""The notebook's project: choose its files and modules to send with a cell."""
