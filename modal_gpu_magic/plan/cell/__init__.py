"""Analyses the text of a cell: names read and bound, imports, files, credentials."""
