"""Turns nvidia-smi's text into samples and samples into history, for both sides."""
