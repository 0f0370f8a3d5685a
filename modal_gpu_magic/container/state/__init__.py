"""What the container's process keeps from one cell to the next."""
