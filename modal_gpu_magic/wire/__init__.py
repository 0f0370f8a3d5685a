"""WHAT CROSSES between kernel and container: messages, values, buffers. Used on both sides; knows neither."""
