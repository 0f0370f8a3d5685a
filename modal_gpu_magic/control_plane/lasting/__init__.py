"""The control plane that outlives kernels and commands: its directory, and how it is found or started."""
