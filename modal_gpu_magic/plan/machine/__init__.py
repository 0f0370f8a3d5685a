"""The machine of a session: definition, choice of GPUs for a model, price, and layers of the image."""
