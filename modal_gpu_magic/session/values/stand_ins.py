"""The remote values of a session: which value of the container each denotes."""

from __future__ import annotations

import itertools
import sys
import weakref
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.inspection.graph import reached as reached_from
from modal_gpu_magic.wire.messages.events import Shared, is_result, token_name
from modal_gpu_magic.wire.values.remote import (
    RemoteValue,
    facts,
    held_in,
    held_name,
    hold,
    is_lost,
    lose,
    name_by,
    own_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from modal_gpu_magic.session.values.covers import Covers


class StandIns:
    """The remote values of one session. `covers`: its covered names.

    A remote value denotes one value of the container: the one that its name had at the end of the run that made it.
    As long as the container's name is bound to that value, the container finds the value by the name. If the kernel
    refers to the remote value by more than that name, the container holds the value under a number, so that a cell
    which binds the name again takes nothing from the others. A remote value that is neither is lost.

    Attributes:
        shares: for the name of a value in the container, tokens of its objects that the kernel may have as well.
        reads: for the name of a value in the container, names of the notebook that functions in the value read.
    """

    def __init__(self, covers: Covers) -> None:
        self.covers, self.session, self.namespace, self.table = covers, covers.session, covers.namespace, covers.table
        self.shares: dict[str, frozenset[int]] = {}
        self.reads: dict[str, tuple[str, ...]] = {}
        self._current: dict[str, weakref.ref[RemoteValue]] = {}
        """The remote values of what the container has under a name."""
        self._numbers = itertools.count(1)
        self._held: dict[int, weakref.ref[RemoteValue]] = {}
        self._unsent: dict[int, str] = {}
        """Numbers that the container does not know yet, with the name of the value."""

    def is_reachable(self, value: Any) -> bool:
        """Whether a value is a remote value of this session's running container."""
        return type(value) is RemoteValue and facts(value).session == self.session and not is_lost(value)

    # What the container has under a name, and under a number.

    def bind(self, name: str, value: RemoteValue) -> None:
        """Note that the container has the value of a remote value under a name."""
        self._lose_current(name)
        self._current[name] = weakref.ref(value)

    def is_current(self, name: str, value: Any) -> bool:
        """Whether the container has, under a name, the value that a remote value denotes."""
        current = self._current.get(name)
        return current is not None and current() is value

    def current(self, name: str) -> RemoteValue | None:
        """The remote value of what the container has under a name; None: the kernel refers to none."""
        current = self._current.get(name)
        return None if current is None else current()

    def found(self, name: str) -> RemoteValue | None:
        """The remote value of what the container has under a name or placeholder name; None: the kernel has none."""
        number = held_in(name)
        value = self.current(name) if number is None else self._held.get(number, lambda: None)()
        return value if self.is_reachable(value) else None

    def names_of(self, value: RemoteValue) -> list[str]:
        """The names under which the container has the value that a remote value denotes."""
        return [name for name in self._current if self.is_current(name, value)]

    def forget_name(self, name: str) -> None:
        """Forget a name that the container has bound to another value, or deleted."""
        self._lose_current(name)
        self.covers.forget_name(name)
        self._forget_shares(name)

    def _lose_current(self, name: str) -> None:
        """Give up the remote value of a name whose value the container has replaced and does not hold."""
        value = self.current(name)
        self._current.pop(name, None)
        if value is None or facts(value).held or is_lost(value):
            return
        others = (each() for each in self._current.values())
        if not any(each is value for each in others):
            lose(value, f"another value was bound to `{name}`")

    def hold(self) -> tuple[tuple[int, str], ...]:
        """Number the remote values that the kernel refers to by more than their name.

        Returns:
            The numbers that the container does not know yet, each with the name of the value.
        """
        for name in list(self._current):
            if self.current(name) is None:
                del self._current[name]
            elif not is_result(name) and self._is_elsewhere(name):  # no cell binds the name of a result again
                self._hold(name)
        return tuple(self._unsent.items())

    def _is_elsewhere(self, name: str) -> bool:
        """Whether the kernel refers to the remote value of a name otherwise than by the name."""
        if self.namespace.get(name) is not self.current(name):
            return True
        alone = {name: object()}  # counted in the same way, whatever the interpreter counts
        return sys.getrefcount(self.namespace[name]) > sys.getrefcount(alone[name])

    def _hold(self, name: str) -> None:
        value = self.current(name)
        if value is None or facts(value).held:
            return
        number = next(self._numbers)
        self._held[number] = weakref.ref(value)
        self._unsent[number] = name
        self._copy_shares(name, held_name(number))
        hold(value, number)

    def held_names(self) -> frozenset[str]:
        """The names and the placeholder names of all held values."""
        held = {number: value() for number, value in self._held.items()}
        names = {facts(value).name for value in held.values() if value is not None}
        return frozenset(names.union(map(held_name, held)))

    def released(self) -> tuple[int, ...]:
        """The numbers of held values that the kernel has given up."""
        return tuple(number for number, value in self._held.items() if value() is None)

    def sent(self, holds: Iterable[tuple[int, str]], released: Iterable[int], aliases: Mapping[str, int]) -> None:
        """Record what the container knows of held values, after it has answered a request.

        Args:
            holds: the numbers that the container knows now.
            released: numbers of values that the container no longer holds.
            aliases: names that the container has bound to held values, with their numbers.
        """
        for number, _ in holds:
            self._unsent.pop(number, None)
        for number in released:
            self._held.pop(number, None)
            self._forget_shares(held_name(number))
        for name, number in aliases.items():
            value = self._held[number]() if number in self._held else None
            if value is not None:
                self.forget_name(name)
                self._current[name] = weakref.ref(value)
                self._copy_shares(held_name(number), name)

    def rebound(self, names: Iterable[str]) -> None:
        """Note that the container has the kernel's values of names, or has deleted the names for the kernel."""
        for name in names:
            self._lose_current(name)

    def _copy_shares(self, name: str, to: str) -> None:
        self.shares[to], self.reads[to] = self.shares.get(name, frozenset()), self.reads.get(name, ())

    def _forget_shares(self, name: str) -> None:
        self.shares.pop(name, None)
        self.reads.pop(name, None)

    def to_fetch(self, value: RemoteValue) -> tuple[str, ...]:
        """What to request to fetch a value: its name or number or, for a covered name, tokens of its stale objects."""
        if own := own_of(value):
            return tuple(map(token_name, self.covers.stale_in(own[0])))
        its = facts(value)
        return (held_name(its.held) if its.held and its.held not in self._unsent else its.name,)

    # The end of the container.

    def clear(self, why: str) -> None:
        """Lose all values after the container has ended; `why`: a clause."""
        for value in self._every():
            lose(value, why)
        self._forget()

    def _forget(self) -> None:
        self._current.clear()
        self._held.clear()
        self._unsent.clear()
        self.covers.clear()
        self.shares.clear()
        self.reads.clear()

    def rewind(self, restored: AbstractSet[str], why: Callable[[str], str]) -> None:
        """Lose all values but those that the next container has, by their names.

        Args:
            restored: names whose values the next container has; it holds no other value.
            why: returns a clause: why the value of a name is lost.
        """
        kept = {name: value for name in restored if (value := self.current(name)) is not None}
        names: dict[int, list[str]] = {}
        for name, value in kept.items():
            names.setdefault(id(value), []).append(name)
        for value in self._every():
            if its := names.get(id(value)):
                name_by(value, facts(value).name if facts(value).name in its else its[0])
            else:
                lose(value, why(facts(value).name))
        self._forget()
        self._current.update({name: weakref.ref(value) for name, value in kept.items()})

    def lose(self, reasons: Mapping[str, str]) -> None:
        """Lose values that the next container does not have, by names and placeholder names, with the reasons."""
        for name, why in reasons.items():
            number = held_in(name)
            if number is None:
                value = self.current(name)
                is_held = value is not None and facts(value).held
            else:
                value, is_held = self._held.pop(number, lambda: None)(), False
            if value is not None and not is_held:
                lose(value, why)

    def _every(self) -> list[RemoteValue]:
        found = (ref() for ref in (*self._current.values(), *self._held.values()))
        return [value for value in (*found, *self.covers.all()) if value is not None and not is_lost(value)]

    # What values share.

    def share(self, shares: Mapping[str, Shared]) -> None:
        """Note what values in the container share with the kernel."""
        for name, shared in shares.items():
            self.shares[name], self.reads[name] = frozenset(shared.tokens), shared.names

    def share_objects(self, name: str, objects: Iterable[Any]) -> None:
        """Note which objects of the kernel a value in the container holds that the kernel could not load."""
        token_of = self.table.token_of
        found = reached_from(objects, self.namespace)
        self.shares[name] = frozenset(token_of[key] for key in found if key in token_of)

    def share_fetched(self, tokens: AbstractSet[int]) -> None:
        """Note that any value in the container may hold the objects of a fetched value, until an answer says more."""
        names = [name for name in self.namespace if self.is_reachable(self.covers.own(name))]
        for name in (*names, *map(held_name, self._held)):
            self.shares[name] = self.shares.get(name, frozenset()) | tokens

    def shared_with_remote(self, names: AbstractSet[str]) -> set[str]:
        """Names whose values the cell may reach through remote values among `names`."""
        ids: set[int] = set()
        read: set[str] = set()
        for name in names & self.namespace.keys():
            value = self.namespace[name]
            if not self.is_reachable(value):
                continue
            if own := own_of(value):
                ids |= reached_from(own, self.namespace).keys()
                continue
            for each in {name, facts(value).name, held_name(facts(value).held)} & self.shares.keys():
                ids |= {id(self.table.find(token)) for token in self.shares[each] if self.table.has(token)}
                read.update(self.reads.get(each, ()))
        read &= self.namespace.keys()
        return read | self.covers.reaching(ids) if ids else read
