"""How many containers a function should have, and which may leave. Pure functions of the state; scheduler acts on them.

A *unit* is what is started and retired as one: a container, or all members of a cluster. Its leader has rank 0.
"""

from __future__ import annotations

import os
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modal_gpu_magic.control_plane.scheduling.state import Container, Function, Input

LOCAL_CONTAINERS = max(4, os.cpu_count() or 1)
"""Units a function may have where it sets no `max_containers`. Modal has no such limit; one machine does."""

MOST_UNITS = 100
"""Units a function may have whatever it asks for: each is a process."""


def leaders(function: Function) -> list[Container]:
    """One live container of each unit."""
    return [container for container in function.live if container.rank == 0]


def together(leader: Container) -> bool:
    """Whether the other nodes of its cluster are through with the last input, so that all begin the next one."""
    return not any(member.running for member in leader.cluster.members[1:]) if leader.cluster else True


def ceiling(function: Function) -> int:
    """Units the function may have at most. Without a limit, those that wait for calls of their own do not count.

    Else a function that calls itself would wait for ever: all units would be taken by callers.
    """
    limit = function.scaling.max_containers
    if limit is not None:
        return max(1, min(limit // function.group_size, MOST_UNITS))
    waiting = sum(
        bool(unit.running) and all(each.waiting for each in unit.running.values()) for unit in leaders(function)
    )
    return LOCAL_CONTAINERS + waiting


def missing_units(function: Function) -> int:
    """Units to start now: for inputs that find no free slot, for `min_containers`, and for the buffer while busy."""
    if function.app.stopped:
        return 0
    units, group = leaders(function), function.group_size
    wanted = len(units) + _beyond(function, units)
    wanted = max(wanted, ceil(function.scaling.min_containers / group), _with_buffer(function, units))
    return max(0, min(wanted, ceiling(function) - _on_their_way_out(function)) - len(units))


def _on_their_way_out(function: Function) -> int:
    """Units that take no more work but still have some: they count, or `max_containers` would be exceeded."""
    return sum(
        bool(container.running)
        for container in function.containers.values()
        if container.leaving and container.rank == 0
    )


def _beyond(function: Function, units: list[Container]) -> int:
    """Units that the queued inputs need beyond the free slots of `units`."""
    free = sum(max(0, function.slots - len(unit.running)) for unit in units)
    return ceil(max(0, len(function.pending) - free) / function.slots)


def _with_buffer(function: Function, units: list[Container]) -> int:
    """Units in use plus `buffer_containers`; the buffer counts only while there is work."""
    busy = [unit for unit in units if unit.running]
    used = len(busy) + _beyond(function, busy)
    return used + ceil(function.scaling.buffer_containers / function.group_size) if used else 0


def seconds_to_leave(container: Container, now: float) -> float | None:
    """Seconds until this leader has been idle for its window; None while it works or is kept on purpose."""
    function = container.function
    units = leaders(function)
    kept = max(ceil(function.scaling.min_containers / function.group_size), _with_buffer(function, units))
    if container.running or container.idle_since is None or len(units) <= kept:
        return None
    return max(0.0, container.idle_since + function.scaling.scaledown_window - now)


def retry_delay(each: Input) -> float | None:
    """Seconds until a failed input of a spawned call is tried again, or None when it is not.

    For calls that somebody waits for, the SDK itself retries.
    """
    policy = each.call.function.definition.retry_policy
    if each.call.synchronous or each.cancelled or each.attempt >= policy.retries:
        return None
    delay: float = policy.initial_delay_ms * (policy.backoff_coefficient or 1.0) ** each.attempt
    return min(delay, policy.max_delay_ms or delay) / 1000
