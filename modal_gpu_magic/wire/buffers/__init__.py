"""Large buffers of a transfer: where they are stored, and how they are hashed."""
