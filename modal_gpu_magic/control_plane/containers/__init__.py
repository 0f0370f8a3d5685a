"""Container processes: start, files, variables, and end."""
