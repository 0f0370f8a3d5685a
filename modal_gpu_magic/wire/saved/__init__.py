"""The saved state of a session: its files, and how they are read, by the next container and by the kernel."""
