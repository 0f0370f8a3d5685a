"""Values that the notebook changes in place while a run goes on that has them, too: what the run returns counts.

Nobody can merge two changes of one object. The notebook's change is lost, and a message says which names it concerns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.buffers.hashing import Hasher
from modal_gpu_magic.wire.inspection.graph import groups_of
from modal_gpu_magic.wire.inspection.own_modules import own_modules
from modal_gpu_magic.wire.messages.events import OUTPUTS
from modal_gpu_magic.wire.messages.place_names import shown_place
from modal_gpu_magic.wire.values.referenced_globals import every_name
from modal_gpu_magic.wire.values.remote import RemoteValue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modal_gpu_magic.wire.inspection.marks import Group, Marks
    from modal_gpu_magic.wire.messages.events import Answer


class Conflicts:
    """Values that the notebook has changed in place since a run was sent, and that its answer may replace.

    Make it before the answer is applied, and ask `lost` afterwards. Use `between`.

    Args:
        marks: makes the fingerprints.
        values: the values by name.
    """

    def __init__(self, marks: Marks, values: Mapping[str, Any]) -> None:
        self._marks, self._values = marks, values
        self._before = self._contents()

    @classmethod
    def between(cls, answer: Answer, groups: Iterable[Group], then: Mapping[str, Any], marks: Marks) -> Conflicts:
        """Find the values that changed here since a run was sent, if its answer brings any values.

        What the run has read may be in any of them, with the content that it had there: not only what the run changed.

        Args:
            answer: the answer.
            groups: the values that the run read, with their fingerprints when it was sent.
            then: the objects to which names were bound when the notebook went on; those that still exist.
            marks: makes the fingerprints.
        """
        own = {name: value for name, value in then.items() if type(value) is not RemoteValue}
        brings = answer.stays or answer.stale or (answer.values is not None and answer.values.names)
        hasher, found = Hasher(), list[Any]()
        for group in groups if brings else ():
            if group.print is not None and own.keys() >= set(group.names):
                now = marks.group(group.names, own, hasher).print
                if now is None or now.stream != group.print.stream:
                    found += [own[name] for name in group.names]
        hasher.release()
        return cls(marks, _sharing(found, marks.namespace))

    def lost(self) -> tuple[str, ...]:
        """Return the names of values that the answer has written into, or has replaced by remote values."""
        after, namespace = self._contents(), self._marks.namespace
        names = (
            name
            for name in self._values
            if after[name] != self._before[name] or type(namespace.get(name)) is RemoteValue
        )
        return tuple(sorted(map(shown_place, names)))

    def _contents(self) -> dict[str, bytes | None]:
        """Return the fingerprints by name; None: a value cannot be pickled."""
        hasher = Hasher()
        prints = {name: self._marks.group((name,), self._values, hasher).print for name in self._values}
        hasher.release()
        return {name: each.stream if each is not None else None for name, each in prints.items()}


def _sharing(values: list[Any], namespace: dict[str, Any]) -> dict[str, Any]:
    """Return the user's variables that share objects with values: other names reach what a cell did not name."""
    if not values:
        return {}
    users = {name: namespace[name] for name in every_name(namespace).difference(OUTPUTS)} | own_modules().variables()
    asked = {f"<{number}>": value for number, value in enumerate(values)}
    groups = groups_of(users | asked, namespace)
    near = {name for group in groups if not asked.keys().isdisjoint(group) for name in group}
    return {name: users[name] for name in near - asked.keys() if type(users[name]) is not RemoteValue}
