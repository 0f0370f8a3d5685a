"""Pickles values, loads pickles, and keeps the identity of objects over many transfers."""
