"""What crosses between kernel and container: messages, values and buffers, for both sides."""
