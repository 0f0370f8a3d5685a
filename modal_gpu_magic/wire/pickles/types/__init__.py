"""How single types of objects are pickled: one module for each family of types."""
