"""What can be said of a single value, or of a piece of code, without pickling it."""
