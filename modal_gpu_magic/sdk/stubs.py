"""The class that Modal calls in a service's container: each method forwards to `container.service`."""

# No `from __future__ import annotations`: as in `entry`, the SDK reads annotations as types.
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import modal

from modal_gpu_magic.container.service import Host
from modal_gpu_magic.wire.calls import Fault, Program

START = "_start"
"""Name of the `@modal.enter` method; no method of a service has this name."""


def service_class(program: Program, kinds: dict[str, str], batches: dict[str, tuple[int, int]], events: Any) -> Any:
    """Make the class of a service, for `app.cls`.

    Args:
        program: the program that its containers run.
        kinds: kind of each method, by name.
        batches: size and wait in milliseconds of each batched method, by name.
        events: the `modal.Queue` for the output of the top level.
    """

    def start(self: Any) -> None:
        # Never a blocking put: with a full queue, the SDK would wait up to 30 s.
        self.host = Host(program, lambda frames: events.put_many(frames, block=False))

    members: dict[str, Any] = {START: modal.enter()(start), "__module__": __name__}
    for name, kind in kinds.items():
        if name in batches:
            size, wait_ms = batches[name]
            decorate = modal.batched(max_batch_size=size, wait_ms=wait_ms)
            members[name] = decorate(_named(name, _BATCHED[kind](name)))
        else:
            members[name] = modal.method()(_named(name, _PLAIN[kind](name)))
    return type(program.service, (), members)


def _named(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    method.__name__ = method.__qualname__ = name
    return method


def _function(name: str) -> Callable[..., Any]:
    def method(self: Any, data: bytes) -> bytes:
        answer: bytes = self.host.call(name, data)
        return answer

    return method


def _coroutine(name: str) -> Callable[..., Any]:
    async def method(self: Any, data: bytes) -> bytes:
        answer: bytes = await self.host.call_async(name, data)
        return answer

    return method


def _generator(name: str) -> Callable[..., Any]:
    def method(self: Any, data: bytes) -> Iterator[str | bytes | Fault | None]:
        yield modal.current_function_call_id()  # needed for cancelling: the SDK does not return a generator call's id
        yield from self.host.stream(name, data)

    return method


def _async_generator(name: str) -> Callable[..., Any]:
    async def method(self: Any, data: bytes) -> AsyncIterator[str | bytes | Fault | None]:
        yield modal.current_function_call_id()
        async for item in self.host.stream_async(name, data):
            yield item

    return method


def _batch(name: str) -> Callable[..., Any]:
    def method(self: Any, data: list[bytes]) -> list[bytes]:
        answers: list[bytes] = self.host.batch(name, data)
        return answers

    return method


def _async_batch(name: str) -> Callable[..., Any]:
    async def method(self: Any, data: list[bytes]) -> list[bytes]:
        answers: list[bytes] = await self.host.batch_async(name, data)
        return answers

    return method


_PLAIN = {
    "function": _function,
    "coroutine": _coroutine,
    "generator": _generator,
    "async generator": _async_generator,
}
_BATCHED = {"function": _batch, "coroutine": _async_batch}
