"""THE BORDER to Modal: the only floor (beside the control plane) that names `modal`."""
