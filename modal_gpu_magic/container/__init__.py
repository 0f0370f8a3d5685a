"""The container's side: runs cells in IPython, turns their output into events, keeps their variables; no modal."""
