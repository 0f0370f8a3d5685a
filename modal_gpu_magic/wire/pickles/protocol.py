"""The interface of a pickler for reducers; `pickles.pickling` and `pickles.counting` implement the interface."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Pickler(Protocol):
    """The interface of a pickler for reducers.

    Attributes:
        namespace: the notebook's globals.
        session: the session that remote values must belong to; None: any.
        dispatch_table: cloudpickle's reducers, by type.
        storages: torch storages in the stream so far, by `_cdata`.
        temporary: copies made only for this pickle.
        computed: `id` of the tensors that a module computes anew before each forward pass.
        modules: modules of the functions and classes that are pickled by name.
        sends_graphs: pickle results of an autograd graph without the graph; False: refuse them.
        is_fingerprint: the output is hashed and never loaded.
        is_trial: the output only shows whether the value can be pickled.
        is_paired: the receiver has the sender's objects by their tokens.
        both_have: whether the other side has an object too, so that a token stands for the object.
    """

    namespace: dict[str, Any]
    session: str | None
    dispatch_table: Any
    storages: dict[Any, Any]
    temporary: list[Any]
    computed: set[int]
    modules: set[str]
    sends_graphs: bool
    is_fingerprint: bool
    is_trial: bool
    is_paired: bool
    both_have: Callable[[Any], Any]

    def reduce(self, obj: Any) -> Any:
        """Return the reduction of an object, always as a tuple."""

    def device(self, name: str) -> Any:
        """Return the object that represents a torch device in the stream."""

    def travels(self, value: Any) -> bool:
        """Whether a value can be pickled by itself."""
