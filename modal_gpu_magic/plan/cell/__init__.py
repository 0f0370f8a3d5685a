"""Reads the text of a cell: what it looks up, binds and needs."""
