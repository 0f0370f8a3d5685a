"""`RemoteValue`: what the notebook has in the place of a value that stayed in the container.

It looks like the value (its own rich repr), and whatever needs the value itself raises a sentence that names the two
ways out. Of a value's possible attributes it takes none but `fetch`: `series.name` must not quietly be something else.
"""

from __future__ import annotations

import html
from dataclasses import astuple, dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from modal_gpu_magic.errors import RemoteValueError, TransferError

if TYPE_CHECKING:
    from collections.abc import Callable


class RemoteAttributeError(RemoteValueError, AttributeError):
    """An attribute of a value that lives in the container. An AttributeError too, so that `hasattr` says no."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known here of a value that stayed."""

    name: str
    session: str
    type_name: str
    summary: str = ""
    """One line: shape, dtype, device, size, or length. Empty if it is not known."""
    why: str = ""
    """Why it stayed."""
    bundle: dict[str, Any] = field(default_factory=dict)
    """The value's own rich repr as a mime bundle."""


class RemoteValue:
    """Stands for a value that lives in a session's container.

    Use its name in a `%%modal_gpu` cell as if it were here, or bring it here with `NAME.fetch()`.

    Args:
        name: the variable's name, in the notebook and in the container.
        session, type_name, summary, why, bundle: see `Facts`, which `facts(value)` gives back.
        fetch: what `fetch()` calls with the name; None: nothing can be fetched any more.
    """

    __slots__ = ("__weakref__", "_facts", "_fetch")

    _facts: Facts
    _fetch: Callable[[str], Any] | None

    def __init__(
        self,
        name: str,
        session: str,
        type_name: str,
        summary: str = "",
        why: str = "",
        bundle: dict[str, Any] | None = None,
        *,
        fetch: Callable[[str], Any] | None = None,
    ) -> None:
        object.__setattr__(self, "_facts", Facts(name, session, type_name, summary, why, bundle or {}))
        object.__setattr__(self, "_fetch", fetch)

    def fetch(self) -> Any:
        """Bring the value here, whatever its size, and return it. The variable itself is not rebound.

        Raises:
            RemoteValueError: it cannot be fetched any more.
            ModalGpuError: the container is gone, or the value does not travel.
        """
        its = self._facts
        if self._fetch is None:
            where = f"`{its.name}` of session {its.session!r}"
            raise RemoteValueError(f"{where} is out of reach: run the cell that made it again")
        return self._fetch(its.name)

    def __repr__(self) -> str:
        its = self._facts
        parts = (f"remote {its.summary or its.type_name}", f"session {its.session}", its.why)
        return f"<{' · '.join(part for part in parts if part)}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:  # noqa: ARG002 - IPython's
        """The value's own rich repr under a line that says where it lives."""
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
        if name.startswith("_"):  # somebody asks what protocols it has
            raise AttributeError(name)
        raise RemoteAttributeError(sentence(self))

    def __copy__(self) -> RemoteValue:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> RemoteValue:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteValue, astuple(self._facts)

    @classmethod
    def __torch_function__(cls, _function: Any, _types: Any, arguments: Any = (), keywords: Any = None) -> NoReturn:
        for value in (*arguments, *(keywords or {}).values()):
            if type(value) is RemoteValue:
                refuse(value)
        raise RemoteValueError("a value in a list or a tuple here lives in the container: use it in a %%modal_gpu cell")

    __hash__ = object.__hash__


def facts(value: RemoteValue) -> Facts:
    """What is known of a value that stayed. Not an attribute: those are the value's own."""
    return value._facts  # noqa: SLF001 - this is the way to it


def is_gone(value: Any) -> bool:
    """Whether a value was a rank's, and ended with it: nothing can fetch it any more, and no cell can use it."""
    return type(value) is RemoteValue and value._fetch is None  # noqa: SLF001 - this is the way to it


def sentence(value: RemoteValue) -> str:
    """That it is not here, and the two ways out."""
    its = facts(value)
    what = its.summary or its.type_name
    if is_gone(value) and its.why:
        return f"`{its.name}` ({what}) is not here: {its.why}"
    return (
        f"`{its.name}` ({what}) lives in the container of session {its.session!r}: "
        f"use it in a %%modal_gpu cell, or bring it here with {its.name}.fetch()"
    )


def refuse(value: RemoteValue, *_: Any, **__: Any) -> NoReturn:
    """What an operator does to a value that is not here.

    Raises:
        RemoteValueError: always, with the ways out.
    """
    raise RemoteValueError(sentence(value))


def value_there(namespace: dict[str, Any], name: str) -> Any:
    """Where a remote value travels back to the container, it is the value itself.

    Raises:
        TransferError: it is there no more.
    """
    if name not in namespace:
        raise TransferError(f"`{name}` is not in the container any more; run the cell that made it again")
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
