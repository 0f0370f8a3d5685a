"""The GPUs of the container: their number, their readings, and `modal_gpu_magic.current()`."""
