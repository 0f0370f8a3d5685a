"""Adapters of the Modal SDK: apart from the control plane, the only floor that imports `modal`."""
