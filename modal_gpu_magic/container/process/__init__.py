"""The container's process: interrupts, time limits, the event loop, and which run owns an output."""
