"""How what a cell puts out leaves the container."""
