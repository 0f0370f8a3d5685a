"""What a container keeps between the cells of its session."""
