"""Choose what returns to the notebook: values that can be pickled, up to the size limit; the largest stay first."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from modal_gpu_magic.errors import NoRoomError
from modal_gpu_magic.wire.inspection.graph import Graph
from modal_gpu_magic.wire.inspection.marks import Group
from modal_gpu_magic.wire.inspection.size import nbytes_of, size_text
from modal_gpu_magic.wire.messages.events import token_in, token_name
from modal_gpu_magic.wire.messages.place_names import place_in
from modal_gpu_magic.wire.pickles.fingerprints import look, why_not
from modal_gpu_magic.wire.pickles.pickling import OUT_OF_BAND_BYTES
from modal_gpu_magic.wire.values.kinds import is_a

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from modal_gpu_magic.container.state.user_names import UserNames
    from modal_gpu_magic.wire.buffers.hashing import Hasher
    from modal_gpu_magic.wire.inspection.marks import Marks
    from modal_gpu_magic.wire.messages.events import Request

SMALL_BYTES = OUT_OF_BAND_BYTES - 1
"""Size of all values that fit into the message, whatever they are made of."""
IN_CONTAINER = "it was bound before this kernel attached"
UNCHECKED = "it may have changed, and is too large to compare"
_T = TypeVar("_T")


@dataclass(slots=True)
class Chosen:
    """What returns to the notebook, and what stays.

    Attributes:
        values: the values that return, by name; small members of other values by their token.
        groups: the names that return, in groups with fingerprints.
        stays: the names that stay, each with the reason.
        places: by token of an object, the name of the place that the user's modules have the object at.
    """

    values: dict[str, Any] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)
    stays: dict[str, str] = field(default_factory=dict)
    places: dict[int, str] = field(default_factory=dict)

    def leave_out(self, names: Iterable[str], why: str) -> None:
        """Let chosen values stay; those without a name are left out."""
        for name in self.values.keys() & set(names):
            del self.values[name]
            self.groups = [group for group in self.groups if name not in group.names]
            if token_in(name) is None and place_in(name) is None:
                self.stays[name] = why

    def room(self, fetch_bytes: int) -> int:
        """Return the bytes that may still be returned."""
        return fetch_bytes - sum(map(nbytes_of, self.values.values()))


class Selection:
    """Chooses the values that return to the notebook.

    Args:
        names: the names of the namespace.
        marks: the content of the values that both sides have, with the table of the objects.
    """

    def __init__(self, names: UserNames, marks: Marks) -> None:
        self._names, self._marks = names, marks
        self._namespace, self._table = names.namespace, marks.table

    def choose(self, candidates: Mapping[str, Any], request: Request, hasher: Hasher, no_room: str = "") -> Chosen:
        """Choose what fits into the size limit and can be pickled.

        Args:
            candidates: the values that may return, by name.
            request: the cell's request, with the size limit.
            hasher: the hasher of this transfer.
            no_room: why the rest stays, if no option of the user's is the reason.
        """
        chosen = _fitting(candidates, request, no_room)
        for group in self._marks.look(chosen.values, hasher):
            if group.print is None:
                for name in group.names:
                    why = why_not(chosen.values.pop(name), self._namespace)
                    chosen.stays[name] = why or "cannot be pickled"
            else:
                chosen.groups.append(group)
        return chosen

    def add_small_members(
        self, chosen: Chosen, staying: Collection[Any], nameless: Collection[Any], request: Request, hasher: Hasher
    ) -> None:
        """Add small objects inside values that do not return, where the notebook reaches the objects by other names.

        Args:
            chosen: what is returned; the objects are added.
            staying: values that the run changed and that stay.
            nameless: values that the run changed before they lost their name.
            request: the cell's request.
            hasher: the hasher of this transfer.
        """
        if not staying and not nameless:
            return
        table = self._table
        seen = self._seen_inside(staying, nameless, chosen, request)
        left = chosen.room(request.fetch_bytes)
        for value in sorted((table.find(token) for token in seen if table.has(token)), key=nbytes_of):
            left -= nbytes_of(value)
            if left < 0:
                return
            if look([value], self._namespace, hasher, graphs=True) is not None:
                chosen.values[token_name(table.token(value))] = value

    def _seen_inside(
        self, staying: Collection[Any], nameless: Collection[Any], chosen: Chosen, request: Request
    ) -> set[int]:
        """Return the tokens of nameless values, and of objects inside all these values that other names reach."""
        table, namespace = self._table, self._namespace
        graph = Graph(namespace)
        for value in (*staying, *nameless):
            graph.add("", value)
        inside = set(graph.owners)
        seen = {token for token in request.named if id(table.find(token)) in inside}
        seen |= {table.token(value) for value in nameless}
        for name in sorted(self._names.known & namespace.keys() - chosen.values.keys()):
            met = graph.add(name, namespace[name])
            seen |= {table.token(value) for value in met if id(value) in inside}
        return seen


def _fitting(candidates: Mapping[str, Any], request: Request, no_room: str) -> Chosen:
    """Choose what fits into the size limit: what the user asks for, whatever its size, then the smallest."""
    chosen = Chosen()
    left = request.fetch_bytes
    sizes = {name: 0 if is_a(value, ModuleType) else nbytes_of(value) for name, value in candidates.items()}
    for name in sorted(candidates, key=lambda n: (n not in request.fetch_names, sizes[n])):
        value, size = candidates[name], sizes[name]  # a module is sent by name only
        asked = name in request.fetch_names or (place_in(name) is not None and not no_room)
        if size > left and not asked:
            limit = size_text(request.fetch_bytes).replace(" ", "")
            chosen.stays[name] = no_room or f"{size_text(size)}, over --fetch {limit}"
            continue
        chosen.values[name] = value
        left -= 0 if asked else size
    return chosen


def in_room(request: Request, pack: Callable[..., _T]) -> _T:
    """Pack values within the limit of a request; if the shared memory is full, the small ones that need none of it."""
    try:
        return pack(request)
    except NoRoomError as error:
        inner = error.__cause__
        why = str(inner if isinstance(inner, NoRoomError) else error)
        return pack(replace(request, fetch_bytes=SMALL_BYTES, fetch_names=()), why)
