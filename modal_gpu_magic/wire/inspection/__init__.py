"""Inspects values without sending them: size, summary, shared objects, changes."""
