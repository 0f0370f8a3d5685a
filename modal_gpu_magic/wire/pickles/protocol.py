"""What a reducer may ask of the pickler that calls it: `pickles.pickling` and `pickles.counting` have one each."""

from __future__ import annotations

from typing import Any, Protocol


class Pickler(Protocol):
    """A pickler, as reducers see it.

    Attributes:
        namespace: the notebook's globals.
        session: the session that remote values must belong to; None: any.
        dispatch_table: cloudpickle's reducers, by type.
        storages: torch storages in the stream so far, by identity.
        temporary: copies that were made to be pickled.
        modules: modules of the functions and classes that went by their names.
        sends_graphs: results of an autograd graph go without the graph; else they are refused.
        is_fingerprint: what is written is never read.
    """

    namespace: dict[str, Any]
    session: str | None
    dispatch_table: Any
    storages: dict[Any, Any]
    temporary: list[Any]
    modules: set[str]
    sends_graphs: bool
    is_fingerprint: bool

    def reduce(self, obj: Any) -> Any:
        """How an object is pickled, as a tuple in any case."""

    def device(self, name: str) -> Any:
        """What stands in the stream for a torch device."""

    def travels(self, value: Any) -> bool:
        """Whether a value can be pickled by itself."""
