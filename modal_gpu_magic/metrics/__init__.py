"""Parses nvidia-smi's output into samples, and records the history of samples; both sides run this code."""
