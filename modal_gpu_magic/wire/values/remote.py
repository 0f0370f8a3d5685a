"""`RemoteValue`: the notebook's stand-in for a value that is in the container only.

A remote value shows the rich repr of the value. An operation that needs the value raises an error with the two fixes.
`fetch` is the only public attribute, so that `series.name`, for example, never silently returns another object.
"""

from __future__ import annotations

import html
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn

from modal_gpu_magic.errors import LostValueError, RemoteValueError, TransferError

if TYPE_CHECKING:
    from collections.abc import Callable


COPIED = "a pickle of a remote value does not have the value"


class RemoteAttributeError(RemoteValueError, AttributeError):
    """An attribute of a remote value was read. Also an AttributeError, so that `hasattr` returns False."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts that the kernel has about a value in the container."""

    name: str
    session: str
    type_name: str
    summary: str = ""
    """One line: shape, dtype, device, size, or length. Empty: unknown."""
    why: str = ""
    """Why the value was not returned."""
    bundle: dict[str, Any] = field(default_factory=dict)
    """The value's own rich repr as a mime bundle."""
    held: int = 0
    """The number under which the container holds the value, whatever its name is bound to; 0: it has the name only."""


class RemoteValue:
    """Stands in for one value that is in a session's container, whatever its name is bound to later.

    Use the name in a `%%modal_gpu` cell like any variable, or copy the value to the notebook with `NAME.fetch()`.

    Args:
        name: name of the variable, in the notebook and in the container.
        session: name of the session.
        type_name: name of the value's type.
        summary: see `Facts`.
        why: see `Facts`.
        bundle: see `Facts`.
        fetch: the function that `fetch()` calls with the remote value; None: the value is lost, and `why` says why.
    """

    __slots__ = ("__weakref__", "_facts", "_fetch", "_own")

    _facts: Facts
    _fetch: Callable[[RemoteValue], Any] | None
    _own: tuple[Any, ...]
    """The notebook's own value, if the remote value covers an older state of the value."""

    def __init__(
        self,
        name: str,
        session: str,
        type_name: str,
        summary: str = "",
        why: str = "",
        bundle: dict[str, Any] | None = None,
        *,
        fetch: Callable[[RemoteValue], Any] | None = None,
        own: tuple[Any, ...] = (),
    ) -> None:
        object.__setattr__(self, "_facts", Facts(name, session, type_name, summary, why, bundle or {}))
        object.__setattr__(self, "_fetch", fetch)
        object.__setattr__(self, "_own", own)

    def fetch(self) -> Any:
        """Copy the value from the container, whatever its size, and return it. The variable is not rebound.

        Raises:
            LostValueError: the value is lost.
            ModalGpuError: the container has ended, or the value cannot be sent.
        """
        if self._fetch is None:
            raise LostValueError(lost_sentence(self))
        return self._fetch(self)

    def __repr__(self) -> str:
        its = self._facts
        where = "remote" if self._fetch is not None else "lost"
        parts = (f"{where} {its.summary or its.type_name}", f"session {its.session}", its.why)
        return f"<{' · '.join(part for part in parts if part)}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:  # noqa: ARG002 - IPython's
        """Return the value's own rich repr below a line with the session and the reason."""
        bundle, line = dict(self._facts.bundle), repr(self)
        bundle["text/plain"] = f"{line}\n{bundle['text/plain']}" if "text/plain" in bundle else line
        if "text/html" in bundle:
            bundle["text/html"] = f"<div>{html.escape(line)}</div>{bundle['text/html']}"
        return bundle

    def __format__(self, spec: str) -> str:
        return refuse(self) if spec else repr(self)

    def __dir__(self) -> list[str]:
        return ["fetch"]

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):  # a check for a protocol
            raise AttributeError(name)
        # With a name, Python does not add the object. IPython keeps the last error and its frames: what these refer to,
        # the container would hold.
        error = RemoteAttributeError(sentence(self), name=name)
        del self
        raise error

    def __copy__(self) -> RemoteValue:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> RemoteValue:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        its = self._facts
        return RemoteValue, (its.name, its.session, its.type_name, its.summary, COPIED, its.bundle)

    @classmethod
    def __torch_function__(cls, _function: Any, _types: Any, arguments: Any = (), keywords: Any = None) -> NoReturn:
        for value in (*arguments, *(keywords or {}).values()):
            if type(value) is RemoteValue:
                refuse(value)
        raise RemoteValueError(
            "use this list or tuple in a %%modal_gpu cell: a value in the list or tuple is in the container"
        )

    __hash__ = object.__hash__


def facts(value: RemoteValue) -> Facts:
    """Return the facts about a remote value. A function, because attributes belong to the value."""
    return value._facts  # noqa: SLF001 - this function is the accessor


def redescribe(value: RemoteValue, type_name: str, summary: str, bundle: dict[str, Any]) -> None:
    """Replace the description of a remote value, since its value has changed in the container."""
    its = replace(facts(value), type_name=type_name, summary=summary, bundle=bundle)
    object.__setattr__(value, "_facts", its)


def own_of(value: RemoteValue) -> tuple[Any, ...]:
    """Return the notebook's own value, if the remote value covers an older state of the value; else nothing."""
    return value._own  # noqa: SLF001 - this function is the accessor


def hold(value: RemoteValue, number: int) -> None:
    """Note the number under which the container holds the value."""
    object.__setattr__(value, "_facts", replace(facts(value), held=number))


def name_by(value: RemoteValue, name: str) -> None:
    """Note the one name under which the container has the value: the container holds the value under no number."""
    object.__setattr__(value, "_facts", replace(facts(value), name=name, held=0))


def lose(value: RemoteValue, why: str) -> None:
    """Note that the value can never be fetched or used again; `why`: a clause."""
    object.__setattr__(value, "_facts", replace(facts(value), why=why))
    object.__setattr__(value, "_fetch", None)
    object.__setattr__(value, "_own", ())


def is_lost(value: Any) -> bool:
    """Whether a value is a remote value that cannot be fetched or used any more."""
    return type(value) is RemoteValue and value._fetch is None  # noqa: SLF001 - this function is the accessor


def lost_sentence(value: RemoteValue) -> str:
    """Return the sentence about a lost value."""
    its = facts(value)
    return f"`{its.name}` is lost: {its.why or 'it is not available'}; run the cell that made it again."


def sentence(value: RemoteValue) -> str:
    """Return the sentence that says that the value is in the container, with the two fixes."""
    its = facts(value)
    what = its.summary or its.type_name
    if is_lost(value) and its.why:
        return f"`{its.name}` ({what}) is not in the notebook: {its.why}"
    return (
        f"`{its.name}` ({what}) is in the container of session {its.session!r}: "
        f"use it in a %%modal_gpu cell, or copy it to the notebook with {its.name}.fetch()"
    )


def refuse(value: RemoteValue, *others: Any, **keywords: Any) -> NoReturn:
    """Refuse an operation on a remote value.

    Raises:
        RemoteValueError: always; the message has the two fixes.
    """
    error = RemoteValueError(sentence(value))
    del value, others, keywords  # the frame of the last error must not keep the value, as in `__getattr__`
    raise error


def held_name(number: int) -> str:
    """Return the placeholder name of a value that the container holds for a remote value."""
    return f"<held {number}>"


def held_in(name: str) -> int | None:
    """Return the number in a placeholder name of a held value; None: the name is another one."""
    return int(name.removeprefix("<held ").removesuffix(">")) if name.startswith("<held ") else None


def itself(value: Any) -> Any:
    """Return the value: in a pickle, the notebook's own value replaces a remote value that covers the value."""
    return value


def remote_value_of(namespace: dict[str, Any], name: str) -> Any:
    """Return the value of a remote value that was sent to the container, by its name or its placeholder name.

    Raises:
        TransferError: the container no longer has the value.
    """
    if name not in namespace:
        raise TransferError(f"run the cell that made `{name}` again: the container no longer has the value")
    return namespace[name]


_ARITHMETIC = "add and divmod floordiv lshift matmul mod mul or pow rshift sub truediv xor"
_OTHER = (
    "lt le eq ne gt ge neg pos abs invert round trunc floor ceil bool int float complex index bytes"
    " len iter next reversed contains getitem setitem delitem call setattr delattr"
    " enter exit aenter aexit await aiter anext array array_ufunc array_function"
)

for _name in _ARITHMETIC.split():
    for _side in ("", "r", "i"):
        setattr(RemoteValue, f"__{_side}{_name}__", refuse)
for _name in _OTHER.split():
    setattr(RemoteValue, f"__{_name}__", refuse)
