"""Track the objects that both sides have: which of them the container's own values contain, and which are stale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.inspection.graph import Graph
from modal_gpu_magic.wire.messages.events import RESULT, Shared
from modal_gpu_magic.wire.pickles.types.shared_memory import Spans
from modal_gpu_magic.wire.values.referenced_globals import reach

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modal_gpu_magic.container.state.user_names import UserNames
    from modal_gpu_magic.wire.inspection.marks import Marks


class SharedObjects:
    """The state of the objects that both sides have, where the values in the notebook do not show the state.

    A value that only the container has may contain objects that the notebook has as well. If a cell may have changed
    an object, and the object is not returned, the notebook has older content: the object is stale until the notebook
    has the current content or gives the object up.

    Args:
        names: the names of the namespace.
        marks: the content of the values that both sides have, with the table of the objects.
    """

    def __init__(self, names: UserNames, marks: Marks) -> None:
        self._names, self._marks, self._table = names, marks, marks.table
        self._stale: dict[int, Any] = {}
        """Objects by token whose content is newer than the notebook's. They are held: the notebook may fetch them."""
        self._shares: dict[str, Shared] = {}

    @property
    def shares(self) -> Mapping[str, Shared]:
        """What the notebook knows of the values that only the container has, by name."""
        return self._shares

    def tokens_in(self, values: Iterable[Any]) -> set[int]:
        """Return the tokens of the objects that values reach, or whose memory overlaps with theirs."""
        return self._tokens_in(list(values), None)

    def tokens_by_name(self, values: Mapping[str, Any]) -> dict[str, set[int]]:
        """Return `tokens_in` of each value, by name."""
        spans = self._spans()  # for all values, since it looks at all arrays of the table
        return {name: self._tokens_in([value], spans) for name, value in values.items()}

    def _tokens_in(self, values: list[Any], spans: Spans | None) -> set[int]:
        if not values or not len(self._table):
            return set()
        graph = Graph(self._names.namespace)
        for number, value in enumerate(values):
            graph.add(str(number), value)
        token_of = self._table.token_of
        found = {token_of[key] for key in graph.owners if key in token_of}
        memory = graph.memory()
        beside = (spans or self._spans()).overlapping(memory) if memory else ()
        return found.union(map(self._table.token, beside))

    def _spans(self) -> Spans:
        """Return the memory of the objects in the table."""
        return Spans([*self._table.arrays(), *self._table.storages()])

    # Stale objects.

    def stale_objects(self) -> dict[int, Any]:
        """Return the objects by token whose content is newer than the notebook's."""
        return {token: value for token, value in self._stale.items() if value is not None}

    def note_stale(self, doubtful: set[int], candidates: Iterable[str]) -> tuple[int, ...]:
        """Record the objects that a run may have changed and that were neither returned nor compared.

        Args:
            doubtful: tokens of the objects that the run may have changed and that were not returned.
            candidates: names whose values were compared.

        Returns:
            The tokens of the objects that are stale since this run.
        """
        new = doubtful - self._stale.keys()
        if new:
            namespace, known = self._names.namespace, self._names.known
            new -= self.tokens_in([namespace[name] for name in candidates if name in known and name in namespace])
        self.hold_stale({token: self._table.find(token) for token in new})
        self._marks.drop_with(new)
        return tuple(sorted(new))

    def hold_stale(self, objects: Mapping[int, Any]) -> None:
        """Hold objects, by token, whose content is newer than the notebook's."""
        self._stale.update(objects)

    def settle_stale(self, tokens: Iterable[int]) -> None:
        """Record that the notebook has the current content of objects, or that it has given the objects up."""
        for token in self._stale.keys() & set(tokens):
            del self._stale[token]

    # What values share.

    def news_of_shares(self, inside: Mapping[str, set[int]]) -> dict[str, Shared]:
        """Return what values that only the container has share with the notebook, where that has changed.

        Args:
            inside: by name of a value, the tokens of the objects in the value.
        """
        namespace, known = self._names.namespace, self._names.known
        for name in [name for name in self._shares if name not in namespace]:
            del self._shares[name]
        found = {
            name: Shared(tuple(sorted(tokens)), tuple(sorted(reach([name], namespace) & known)))
            for name, tokens in inside.items()
        }
        news = {name: shared for name, shared in found.items() if self._shares.get(name) != shared}
        self._shares |= {name: shared for name, shared in news.items() if name != RESULT}
        return news

    def resume(self, shares: Mapping[str, Shared]) -> None:
        """Continue as the container that has ended, of whose values the notebook knows what they share."""
        self._shares.update(shares)

    def clear(self) -> None:
        """Forget all objects: the notebook starts a new session."""
        self._stale.clear()
        self._shares.clear()
