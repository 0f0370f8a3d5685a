"""Adapter of `modal._cluster`: what Modal has told a container of its cluster, for the processes that it starts.

The SDK keeps it in a module of its own and offers no way to pass it on. Tested with modal 1.6.0 to 1.6.4. Symptom if
this breaks: in ranks of a cluster `get_cluster_info` and `Cluster.from_context` say that there is no cluster, or the
ranks do not start.
"""

from __future__ import annotations

from typing import Any

FIELDS = ("rank", "cluster_id", "container_ips", "container_ipv4_ips", "fabric_ids")


def context() -> dict[str, Any]:
    """This container's, as plain values."""
    import modal.experimental

    told = modal.experimental.get_cluster_info()
    values = {name: getattr(told, name) for name in FIELDS}
    return {name: value if isinstance(value, str | int) else list(value) for name, value in values.items()}


def enter(context: dict[str, Any]) -> None:
    """Make `context` this process's own."""
    from modal import _cluster

    _cluster.current_cluster_context = _cluster.ClusterContext(**context)
