"""Assignment of inputs to containers: state, capacity, GPUs, and the scheduler."""
