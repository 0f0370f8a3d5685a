"""Which container runs which input: state, capacity, GPUs, and the scheduler that acts on them."""
