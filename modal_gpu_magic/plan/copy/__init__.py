"""Which files are copied from where to where."""
