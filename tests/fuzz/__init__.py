"""Random input for what reads text and bytes from elsewhere. Not part of `make test`: `python -m tests.fuzz`."""
