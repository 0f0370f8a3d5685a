"""What a cell finds around it in the container."""
