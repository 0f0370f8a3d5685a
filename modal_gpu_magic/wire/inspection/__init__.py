"""Looks at values without sending any: their size, their look, what they share, whether they changed."""
