"""The GPUs of the container: how many, their readings, and what a cell may ask about them."""
