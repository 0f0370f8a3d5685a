"""Images: their layers, the packages that these install, and the files that they copy."""
