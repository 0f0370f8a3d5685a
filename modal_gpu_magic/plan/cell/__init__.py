"""What is read from the text of a cell before anything runs."""
