"""What a process holds beside the notebook's variables, read and written on both sides."""
