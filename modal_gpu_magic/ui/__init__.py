"""WHAT IS SEEN: the magic, the notebook's and the terminal's output, receipts, completion."""
