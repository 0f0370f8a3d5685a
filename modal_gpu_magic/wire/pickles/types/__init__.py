"""Reducers for types of objects that need special rules: one module for each family of types."""
