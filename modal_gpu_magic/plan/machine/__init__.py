"""What a machine is, which GPUs a model needs, what a machine costs, and the layers of its image."""
