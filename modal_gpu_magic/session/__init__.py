"""THE STORY of a cell: what travels, the run from spawn to answer, what comes home."""
