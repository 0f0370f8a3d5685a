"""THE FAR SIDE: IPython in the container, its output as events, its values. Plain Python, no modal."""
