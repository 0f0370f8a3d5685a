"""Facts: GPUs that Modal takes, prices, images that have a name, Modal's limits. Tables with sources, and no decisions.

Standard library only; reads nothing but `errors`.
"""
