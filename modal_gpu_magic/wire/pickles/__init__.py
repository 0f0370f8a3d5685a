"""How single kinds of values are pickled: classes, instances, arrays and tensors."""
