"""The soak test: random cells of a user who stays, and of a user who leaves and comes back. `python -m tests.soak`."""
