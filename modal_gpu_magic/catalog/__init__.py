"""Facts: the GPUs Modal takes, what things cost, the images that have a name.

Tables with sources, and no decisions. Standard library only; reads nothing but `errors`.
"""
