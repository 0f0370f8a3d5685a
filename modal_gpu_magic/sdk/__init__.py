"""The border to Modal: the only floor beside the control plane that imports `modal`."""
