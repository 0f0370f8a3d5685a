"""Facts: Modal's GPUs, prices, named images and limits.

Tables with sources, and no decisions. Standard library only; imports nothing but `errors`.
"""
