"""Translate the container's times to the kernel's clock: the two may be minutes apart.

Each duration is a difference of one clock. A message arrives later than it was sent, by the network's delay: of all
messages of a container, the one with the shortest delay gives the best estimate of the difference of the two clocks.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modal_gpu_magic.session.run.phases import Mark

if TYPE_CHECKING:
    from collections.abc import Callable

    from modal_gpu_magic.session.run.cost_meter import Meter
    from modal_gpu_magic.wire.messages.events import Answer, Event


@dataclass(slots=True)
class Clock:
    """The clock of one container. `behind`: seconds to add for the kernel's, at most; infinite: not known."""

    behind: float = float("inf")

    def hears(self, sent: float, arrived: float) -> None:
        """Take in a message: when it was sent, by the container's clock, and when it arrived, by the kernel's."""
        self.behind = min(self.behind, arrived - sent)

    def on_kernel_clock(self, time_in_container: float) -> float:
        """Return a time of the container's clock on the kernel's."""
        return time_in_container + self.behind


@dataclass(slots=True)
class _Container:
    """The times that a container has reported, by its own clock."""

    node: int
    clock: Clock = field(default_factory=Clock)
    booted_at: float = 0.0
    marks: tuple[Mark, ...] = ()


class Timing:
    """Passes the times that the containers of one run report to the meter, by the kernel's clock.

    Args:
        meter: the session's meter.
        clock: returns seconds since the epoch.
    """

    def __init__(self, meter: Meter, clock: Callable[[], float] = time.time) -> None:
        self._meter, self._clock = meter, clock
        self._containers: dict[str, _Container] = {}
        """By generation."""
        self._unseen = clock()
        """The latest time at which no container was known to exist."""

    def queued(self) -> None:
        """Note that no container exists yet."""
        self._unseen = self._clock()

    def exists(self) -> None:
        """Note that a container exists, which may never report its times."""
        self._meter.boots(self._unseen)

    def takes(self, event: Event, generation: str, node: int = 0) -> None:
        """Take in the event `started`, or of the first node `phase`."""
        content = event.content
        container = self._containers.setdefault(generation, _Container(node))
        container.clock.hears(content["time"], self._clock())
        if event.kind == "started":
            container.booted_at = content["booted_at"]
        else:
            container.marks = (*container.marks, (content["phase"], content["time"]))
        self._report(container, generation)

    def hears(self, sent: float, generation: str) -> float | None:
        """Take in any message that a container has just sent; a kernel that attaches has had only old ones before.

        Args:
            sent: when it was sent, by the container's clock.
            generation: the container.

        Returns:
            Since when the container's phase lasts, by the kernel's clock; None: not known.
        """
        container = self._containers.get(generation)
        if container is None:
            return None
        before = container.clock.behind
        container.clock.hears(sent, self._clock())
        if container.clock.behind < before:
            self._report(container, generation)
        return container.clock.on_kernel_clock(container.marks[-1][1]) if container.marks else None

    def replaced(self) -> None:
        """Note that Modal has replaced the run's container."""
        self._meter.sent(continued=True)

    def answered(self, answer: Answer, at: float) -> None:
        """Take in the run's answer, whose times are whole; `at`: when it arrived."""
        key = answer.container or answer.generation
        container = self._containers.setdefault(key, _Container(0))
        container.clock.hears(answer.made_at, at)
        container.booted_at, container.marks = answer.booted_at, answer.phases
        self._report(container, key)
        self._meter.over(at)

    def lost(self, at: float, *, existed: bool) -> None:
        """Note the end of a run without an answer. `existed`: a container had it."""
        if existed:
            self.exists()
        self._meter.over(at)

    def _report(self, container: _Container, generation: str) -> None:
        convert = container.clock.on_kernel_clock
        if container.booted_at:
            self._meter.lives(convert(container.booted_at), container.node, generation)
        if container.node == 0:
            self._meter.marks((phase, convert(at)) for phase, at in container.marks)
