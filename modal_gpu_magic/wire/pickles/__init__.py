"""How single kinds of objects are pickled, and which object a pickle means."""
