"""Adapter of `modal._cluster`: passes a container's cluster information to its child processes.

The SDK keeps the information in a module of its own and has no way to pass it on. Tested with modal 1.6.0 to 1.6.4.
Symptom if this breaks: in the ranks of a cluster, `get_cluster_info` and `Cluster.from_context` report no cluster, or
the ranks do not start.
"""

from __future__ import annotations

from typing import Any

FIELDS = ("rank", "cluster_id", "container_ips", "container_ipv4_ips", "fabric_ids")


def context() -> dict[str, Any]:
    """Return this container's cluster information as plain values."""
    from modal.experimental import get_cluster_info

    info = get_cluster_info()
    values = {name: getattr(info, name) for name in FIELDS}
    return {name: value if isinstance(value, str | int) else list(value) for name, value in values.items()}


def enter(context: dict[str, Any]) -> None:
    """Set this process's cluster information to `context`."""
    from modal import _cluster

    _cluster.current_cluster_context = _cluster.ClusterContext(**context)
