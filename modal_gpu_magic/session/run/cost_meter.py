"""The one meter of a session's containers: their lives, the phases of the current run, and what both cost.

Live view, strip, receipt and `%modal_gpu status` show its figures. Modal bills a container from its start to its end,
whatever it does: the wait for it is free, installs, idle time and the saving of values are not. Each node of a cluster
is billed for its own life. All times are of the kernel's clock; `session.run.clocks` translates the container's.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from modal_gpu_magic.session.run.front import Phase
from modal_gpu_magic.session.run.phases import NOT_BILLED, Mark, PhaseTime, billed_seconds, phase_times

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

EXIT_SECONDS = 0.2
"""Seconds that a container takes to end by itself, after a stop or its idle time; measured: 0.1, with torch 0.3."""
Doing = Phase | Literal["idle", "ended"]


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of a session at one time. Times are seconds since the epoch.

    Attributes:
        doing: the phase of the running cell; `idle`: the container waits for a cell; `ended`: the session has none.
        since: when `doing` began.
        idle_until: when the idle container ends; None: it is not idle.
        spent: estimated cost of the session's containers so far, USD; None: the price is not known.
        hourly: cost that is added now, USD per hour; None: not known.
        outcome: how the last cell ended, such as `done` or `failed`; empty during a cell and before the first.
    """

    doing: Doing
    since: float
    idle_until: float | None
    spent: float | None
    hourly: float | None
    outcome: str = ""


@dataclass(slots=True)
class _Life:
    """The life of one container.

    Attributes:
        since: its start.
        hourly: its price, USD per hour; None: not known.
        until: its end, or when it will end if it stays idle; None: a cell runs in it.
        exits: seconds from then to the end of its process, which are billed.
    """

    since: float
    hourly: float | None
    until: float | None = None
    exits: float = 0.0

    def seconds(self, now: float) -> float:
        """Seconds until `now`."""
        return max(0.0, (now if self.until is None else min(now, self.until + self.exits)) - self.since)

    def cost(self, now: float) -> float | None:
        """Cost until `now`, USD; None: not known."""
        return None if self.hourly is None else self.hourly * self.seconds(now) / 3600

    def is_open(self, now: float) -> bool:
        """Whether the container has not ended."""
        return self.until is None or now < self.until


@dataclass(slots=True)
class _Attempt:
    """One sending of a run, and what its containers did.

    Attributes:
        sent: when it was sent: a container that has begun since then was started for it.
        spawned: when Modal had it.
        continued: the container of the attempt before was replaced in mid-run: no wait lies between the two.
        lives: the containers that have the run, by node.
        marks: the phases that the first node has reported, with the times when they began.
    """

    sent: float
    spawned: float
    continued: bool = False
    lives: dict[int, _Life] = field(default_factory=dict)
    marks: tuple[Mark, ...] = ()

    @property
    def begins(self) -> Iterator[Mark]:
        """The phases with the times when they began. Of a cluster, the mean of its nodes' starts: each is billed."""
        new = [life.since for life in self.lives.values() if self.continued or life.since >= self.sent]
        taken = [self.marks[0][1]] * (len(self.lives) - len(new)) if self.marks else []
        start = sum((*new, *taken)) / len((*new, *taken)) if new else None
        if not self.continued:
            yield "waiting", self.spawned if start is None else min(self.spawned, start)
        if start is not None:
            yield "starting", start
        yield from self.marks


class Meter:
    """Measures the phases and the cost of one session.

    Args:
        clock: returns seconds since the epoch.
        exits: seconds that a container takes to end by itself.

    Attributes:
        outcome: how the last cell ended; empty during a cell and before the first.
    """

    def __init__(self, clock: Callable[[], float] = time.time, exits: float = 0.0) -> None:
        self._clock, self._exits = clock, exits
        self._lives: dict[tuple[int, str], _Life] = {}
        """The containers by node and generation; a generation is empty until the container has reported it."""
        self._former: list[_Life] = []
        """Containers that have ended, and of which another one has the key."""
        self._node_hourly: float | None = 0.0
        self._nodes = 1
        self._attempts: list[_Attempt] = []
        self._over: float | None = None
        """When the run ended; None: it goes on."""
        self._since = clock()
        self._doing: Phase | None = None
        self.outcome = ""

    # A cell, as the kernel sees it.

    def runs(self, hourly: float | None, nodes: int = 1) -> None:
        """Begin a cell.

        Args:
            hourly: price of the machine, all nodes together, USD per hour; None: not known.
            nodes: number of containers.
        """
        self._nodes, self._attempts, self._over = nodes, [], None
        self._node_hourly = None if hourly is None else hourly / nodes
        self._doing, self._since = "connecting", self._clock()
        self.outcome = ""

    def price(self, hourly: float | None) -> None:
        """Set the price of the machine, all nodes together, once the GPUs that arrived are known."""
        self._node_hourly = None if hourly is None else hourly / self._nodes
        now = self._clock()
        for life in self._lives.values():
            if life.is_open(now):
                life.hourly = self._node_hourly

    def enters(self, phase: Phase) -> None:
        """Set the phase of the running cell as it is shown; without a cell, do nothing."""
        if self._doing not in (None, phase):
            self._doing, self._since = phase, self._clock()

    def sent(self, *, continued: bool = False, at: float | None = None) -> None:
        """Note that the run is sent, or sent again.

        Args:
            continued: Modal has replaced its container in mid-run.
            at: when it was sent, by another kernel; None: now.
        """
        now = self._clock() if at is None else at
        self._attempts.append(_Attempt(now, now, continued))
        self._over = None

    def spawned(self) -> None:
        """Note that Modal has the run: the wait begins."""
        if self._attempts:
            self._attempts[-1].spawned = self._clock()

    def marks(self, marks: Iterable[Mark]) -> None:
        """Set the phases that the container has reported since the last `sent`."""
        if self._attempts:
            self._attempts[-1].marks = tuple(marks)

    def over(self, at: float | None = None) -> None:
        """Note that the run has ended: its values have arrived, or its container is lost."""
        if self._over is None:
            self._over = self._clock() if at is None else at

    def ran(self, idle_until: float | None) -> None:
        """End the cell. `idle_until`: when the idle container ends, seconds since the epoch; None: it has ended."""
        self.over()
        now = self._clock()
        self._doing, self._since = None, now
        for life in self._lives.values():
            if life.until is None:
                life.until, life.exits = (now, 0.0) if idle_until is None else (idle_until, self._exits)

    # Containers.

    def boots(self, since: float) -> None:
        """Note that containers exist that have reported nothing: not yet, or never, because the run has ended."""
        now = self._clock()
        if not any(life.is_open(now) for life in self._lives.values()):
            for node in range(self._nodes):
                self.lives(since, node)

    def lives(self, since: float, node: int = 0, generation: str = "") -> None:
        """Note that a container is running, and has the run if one is on its way.

        Args:
            since: its start; of a container that is known, the earliest counts.
            node: its number in a cluster.
            generation: id of the container's life; empty: not reported yet.
        """
        life = self._known(node, generation)
        if life is None:
            for (other, _), former in self._lives.items():
                if other == node and (former.until is None or since < former.until):  # another one has its place
                    former.until, former.exits = max(former.since, since), 0.0
            life = self._lives[node, generation] = _Life(since, self._node_hourly)
        life.since = min(life.since, since)
        if self._attempts and self._over is None:
            life.until = None
            self._attempts[-1].lives[node] = life

    def _known(self, node: int, generation: str) -> _Life | None:
        """Return the container if it was noted before; an entry without a generation ends once it is known."""
        nameless = self._lives.get((node, ""))
        if nameless is not None and not nameless.is_open(self._clock()):
            self._former.append(self._lives.pop((node, "")))
        elif nameless is not None and generation:
            del self._lives[node, ""]
        return self._lives.get((node, generation))

    def ends(self, at: float | None = None) -> None:
        """Note the end of all containers. `at`: when they were lost; None: they end by themselves from now on."""
        now = self._clock() if at is None else at
        for life in self._lives.values():
            if life.until is None or now < life.until:
                life.until, life.exits = now, self._exits if at is None else 0.0

    # Figures.

    @property
    def phases(self) -> tuple[PhaseTime, ...]:
        """The phases of the current or last run so far, each once."""
        begins = [begin for attempt in self._attempts for begin in attempt.begins]
        return phase_times(begins, self._clock() if self._over is None else self._over)

    @property
    def cost(self) -> float | None:
        """Estimated cost of the current or last run so far, USD; None: the price is not known."""
        return None if self.hourly is None else self.hourly * billed_seconds(self.phases) / 3600

    @property
    def hourly(self) -> float | None:
        """The price of the machine, all nodes together, USD per hour; None: not known."""
        return None if self._node_hourly is None else self._node_hourly * self._nodes

    @property
    def adds(self) -> float | None:
        """What the run adds now, USD per hour; 0 while it waits and after its end; None: not known."""
        begins = [phase for attempt in self._attempts for phase, _ in attempt.begins]
        return self.hourly if self._over is None and begins and begins[-1] not in NOT_BILLED else 0.0

    @property
    def rate(self) -> float | None:
        """What the containers add now, USD per hour; None: not known."""
        now = self._clock()
        return _total(life.hourly for life in self._lives.values() if life.is_open(now))

    @property
    def container_seconds(self) -> float:
        """Seconds of all containers of the session so far, as Modal bills them."""
        now = self._clock()
        return sum(life.seconds(now) for life in (*self._former, *self._lives.values()))

    @property
    def spent(self) -> float | None:
        """Estimated cost of all containers of the session so far, USD; None: a price is not known."""
        now = self._clock()
        return _total(life.cost(now) for life in (*self._former, *self._lives.values()))

    def before(self, moment: float) -> tuple[float, float | None]:
        """Return seconds and estimated cost of all containers until a time, USD; None: a price is not known.

        Args:
            moment: the time, seconds since the epoch; later than now counts as now.
        """
        until = min(moment, self._clock())
        lives = [each for each in (*self._former, *self._lives.values()) if each.since < until]
        return sum(each.seconds(until) for each in lives), _total(each.cost(until) for each in lives)

    @property
    def ended_at(self) -> float | None:
        """When the last run ended, seconds since the epoch; None: it goes on."""
        return self._over

    @property
    def ends_at(self) -> float:
        """When the last container has ended, or will have if it stays idle; now, if a cell runs in one."""
        now = self._clock()
        return max(
            (now if each.until is None else each.until + each.exits for each in self._lives.values()), default=now
        )

    @property
    def standing(self) -> Standing:
        """The state of the session now."""
        now = self._clock()
        if self._doing is not None:
            return Standing(self._doing, self._since, None, self.spent, self.rate)
        ends = [life.until for life in self._lives.values() if life.until is not None]
        if any(now < end for end in ends):
            return Standing("idle", self._since, max(ends), self.spent, self.rate, self.outcome)
        return Standing("ended", max(ends, default=self._since), None, self.spent, 0.0, self.outcome)


def _total(amounts: Iterable[float | None]) -> float | None:
    """Return the sum; None: one of the amounts is not known."""
    total = 0.0
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total
