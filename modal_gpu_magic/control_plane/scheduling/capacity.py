"""Number of containers per function: how many to start, which to retire. Pure functions of the state.

A *unit* is started and retired as a whole: one container, or all members of a cluster. Its leader has rank 0.
"""

from __future__ import annotations

import os
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modal_gpu_magic.control_plane.scheduling.state import Container, Function, Input

LOCAL_CONTAINERS = max(4, os.cpu_count() or 1)
"""Most units of a function without `max_containers`. Modal has no such limit; a single machine needs one."""

MOST_UNITS = 100
"""Units a function may have whatever it asks for: each is a process."""


def leaders(function: Function) -> list[Container]:
    """Return the leaders of the live units."""
    return [container for container in function.live if container.rank == 0]


def together(leader: Container) -> bool:
    """Return whether the other cluster members have finished the last input, so that all start the next together."""
    return not any(member.running for member in leader.cluster.members[1:]) if leader.cluster else True


def ceiling(function: Function) -> int:
    """Return the most units of a function. Without `max_containers`, units that wait for calls do not count.

    Otherwise a function that calls itself would wait without end once callers occupy all units.
    """
    limit = function.scaling.max_containers
    if limit is not None:
        return max(1, min(limit // function.group_size, MOST_UNITS))
    waiting = sum(
        bool(unit.running) and all(each.waiting for each in unit.running.values()) for unit in leaders(function)
    )
    return LOCAL_CONTAINERS + waiting


def missing_units(function: Function) -> int:
    """Return the number of units to start now: for queued inputs, `min_containers` and, while busy, the buffer."""
    if function.app.stopped:
        return 0
    units, group = leaders(function), function.group_size
    wanted = len(units) + _extra_units(function, units)
    wanted = max(wanted, ceil(function.scaling.min_containers / group), _with_buffer(function, units))
    return max(0, min(wanted, ceiling(function) - _retiring_units(function)) - len(units))


def _retiring_units(function: Function) -> int:
    """Return the number of units that take no more work but still run inputs; they count towards `max_containers`.

    Those of an earlier version do not: new calls would wait for the calls that run there.
    """
    return sum(
        bool(container.running)
        for container in function.containers.values()
        if container.leaving and container.rank == 0 and not container.outdated
    )


def _extra_units(function: Function, units: list[Container]) -> int:
    """Return the number of units that queued inputs need beyond the free slots of `units`."""
    free = sum(max(0, function.slots - len(unit.running)) for unit in units)
    return ceil(max(0, len(function.pending) - free) / function.slots)


def _with_buffer(function: Function, units: list[Container]) -> int:
    """Return the number of units in use plus `buffer_containers`, which apply only while there is work."""
    busy = [unit for unit in units if unit.running]
    used = len(busy) + _extra_units(function, busy)
    return used + ceil(function.scaling.buffer_containers / function.group_size) if used else 0


def seconds_to_leave(container: Container, now: float) -> float | None:
    """Return the seconds until this idle leader is retired; None while it works or must be kept."""
    function = container.function
    units = leaders(function)
    kept = max(ceil(function.scaling.min_containers / function.group_size), _with_buffer(function, units))
    if container.running or container.idle_since is None or len(units) <= kept:
        return None
    return max(0.0, container.idle_since + function.scaling.scaledown_window - now)


def retry_delay(each: Input) -> float | None:
    """Return the seconds until a failed input of a spawned call is retried; None: no retry.

    For calls with a waiting caller, the SDK retries.
    """
    policy = each.call.function.definition.retry_policy
    if each.call.synchronous or each.cancelled or each.attempt >= policy.retries:
        return None
    delay: float = policy.initial_delay_ms * (policy.backoff_coefficient or 1.0) ** each.attempt
    return min(delay, policy.max_delay_ms or delay) / 1000
