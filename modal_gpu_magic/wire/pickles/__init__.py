"""Pickles values, loads pickles, and preserves the identity of objects across transfers."""
