"""Files of Volumes: paths, uploads in parts, and HTTP on loopback."""
