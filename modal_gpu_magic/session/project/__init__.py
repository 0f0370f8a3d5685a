"""The notebook's project: which of its files and modules travel with a cell."""
