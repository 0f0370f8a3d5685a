"""Facts: GPUs that Modal takes, prices, images that have a name, limits of Modal.

Tables with sources, and no decisions. Standard library only; reads nothing but `errors`.
"""
