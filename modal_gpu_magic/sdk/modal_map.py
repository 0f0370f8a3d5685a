"""Adapter of `Function.map`: a map whose calls are cancelled when nobody reads its results any more.

The SDK keeps the id of a map's call to itself. Tested with modal 1.6.0 and 1.6.4. Symptom if this breaks: ■ in a map
says that calls which had been sent may run to their end.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.sdk.modal_client import stub_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable


class MapCall:
    """The call of one map. `id`: Modal's id of the call (`fc-…`); None: nothing was sent yet, or the SDK is another."""

    def __init__(self) -> None:
        self.id: str | None = None

    async def results(
        self, function: Any, rows: Iterable[Any], client: Any, *, return_exceptions: bool
    ) -> AsyncIterator[Any]:
        """Yield the results of `function` for each of the rows. Leaving the iteration early cancels the rest.

        Args:
            function: a `modal.Function`.
            rows: arguments, one per call.
            client: the connected `modal.Client` of the function.
            return_exceptions: yield an error instead of its result; False: raise the first error.
        """
        import modal

        with contextlib.suppress(AttributeError):  # another SDK
            _note_ids(client)
        _CALL.set(self)
        is_over = False
        try:
            async for result in function.map.aio(rows, return_exceptions=return_exceptions):
                yield result
            is_over = True
        finally:
            if self.id is not None and not is_over:
                with contextlib.suppress(Exception):  # the call or its App has ended
                    await modal.FunctionCall.from_id(self.id, client=client).cancel.aio()


_CALL: ContextVar[MapCall | None] = ContextVar("map_call", default=None)


def _note_ids(client: Any) -> None:
    """Let the client note the ids of maps. The SDK's tasks have the context in which a map was begun."""
    stub = stub_of(client)
    if not isinstance(stub.FunctionMap, _NotingMap):
        stub.FunctionMap = _NotingMap(stub.FunctionMap)


class _NotingMap:
    """Modal's RPC FunctionMap, which begins a map and every other call."""

    def __init__(self, rpc: Any) -> None:
        self._rpc = rpc

    async def __call__(self, *args: Any, **kwargs: Any) -> Any:
        response = await self._rpc(*args, **kwargs)
        if (call := _CALL.get()) is not None:
            call.id = response.function_call_id
        return response

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rpc, name)
