"""How single kinds of objects are pickled."""
