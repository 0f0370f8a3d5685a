"""What a session does for one cell beside running it: which names moved, and how a run without an answer is settled."""
