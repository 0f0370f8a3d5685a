"""The notebook's variables: what is sent before a cell, and what is written back after the cell."""
