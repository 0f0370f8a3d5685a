"""How values are pickled that need more than pickle and cloudpickle do."""
