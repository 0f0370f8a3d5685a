"""A slow cloud for the tests: gates in the local control plane."""
