"""Container processes: how they start, what they find on disk, and how they end."""
