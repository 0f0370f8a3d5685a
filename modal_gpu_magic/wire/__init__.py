"""The data that kernel and container exchange: messages, values and buffers; both sides run this code."""
