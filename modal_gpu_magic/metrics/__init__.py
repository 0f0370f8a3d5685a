"""READINGS of nvidia-smi: text to samples, samples to history. Pure; used on both sides."""
