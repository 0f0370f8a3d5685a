"""Images: their layers, packages and files."""
