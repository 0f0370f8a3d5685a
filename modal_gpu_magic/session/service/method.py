"""Methods of a service, called from the notebook: `embed.predict(x)`, `.map(xs)`, `.aio(x)`, `.spawn(x)`.

A call spawns a Modal call with encoded arguments and waits for it, so that its id is known and ■ can cancel it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sized
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures import wait
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.errors import ServiceError, shown_alone
from modal_gpu_magic.sdk.modal_map import MapCall
from modal_gpu_magic.session.run.error_frames import shown_within
from modal_gpu_magic.session.run.interrupts import HeldPress
from modal_gpu_magic.session.service.async_iteration import driven
from modal_gpu_magic.session.service.spawned_calls import awaited
from modal_gpu_magic.wire.calls import Fault, decode, encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from concurrent.futures import Future

    from modal_gpu_magic.plan.service.serving import Method
    from modal_gpu_magic.session.service.running import RunningService

CANCELLED = "stopped in a call of {}, which was cancelled"
MAP_CANCELLED = "stopped in a map of {}, whose other calls were cancelled"
MAP_LEFT = "stopped in a map of {}; calls that had been sent may run to their end"
CHECK_SECONDS = 0.1
"""Seconds between two looks whether ■ was pressed."""


class ServiceMethod:
    """One method of a running service. Checks the arguments in the kernel against the function's signature.

    Every kind of call raises the function's error with the cell's traceback, `ServiceError` if the service was
    stopped, `CellTimeout` if the call timed out, and `ContainerLost` if its container was lost.
    """

    def __init__(self, service: RunningService, method: Method) -> None:
        self._service, self._method = service, method
        self._title = f"{service.name}.{method.name}"
        self.__name__, self.__qualname__, self.__doc__ = method.name, self._title, method.doc
        self.__signature__ = method.signature

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function and wait for its result; for a generator, iterate over its items. ■ cancels the call."""
        data = self._arguments(args, kwargs)
        if self._method.streams:
            return self._stream(data)
        with self._service.usage.use():
            with HeldPress() as held:
                call = self._spawned(data)
            if held.pressed:
                call.cancel()
                with self._own_errors():
                    raise KeyboardInterrupt
            return call.get()

    def spawn(self, *args: Any, **kwargs: Any) -> ServiceCall:
        """Start a call and return at once; `.get()` waits for its result, `.cancel()` ends it."""
        self._refuse_stream("spawn")
        return self._spawned(self._arguments(args, kwargs)).followed()

    def map(self, *iterables: Iterable[Any], return_exceptions: bool = False) -> Iterator[Any]:
        """Call the function once per item, in parallel; iterate over the results in order, as soon as they arrive.

        Whatever ends the iteration early (■, `break`, an error) cancels the calls that have not ended.

        Args:
            iterables: one per argument, as for Python's `map`; the map ends with the shortest.
            return_exceptions: yield an error instead of its result; False: raise the first error.

        Raises:
            TypeError: an argument is not iterable.
        """
        self._refuse_stream("map")
        try:
            rows = self._rows(zip(*iterables))  # noqa: B905 - as `map` does
        except TypeError as error:
            raise shown_alone(error) from None
        lengths = [len(each) for each in iterables if isinstance(each, Sized)]
        total = min(lengths) if len(lengths) == len(iterables) and lengths else None
        call = MapCall()
        function, client = self._function, self._service.client
        results = driven(lambda: call.results(function, rows, client, return_exceptions=return_exceptions))
        return self._service.watch(self._results(call, results), total, self._title)

    def aio(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function from a coroutine: `await embed.predict.aio(x)`; for a generator, use `async for`."""
        data = self._arguments(args, kwargs)
        return self._stream_aio(data) if self._method.streams else self._call_aio(data)

    def __repr__(self) -> str:
        return f"<{self._service.name}.{self._method}>"

    @property
    def _function(self) -> Any:
        return self._service.function(self._method.name)

    def _refuse_stream(self, way: str) -> None:
        if self._method.streams:
            raise ServiceError(f"{self._title} is a generator, which has no {way}: iterate over {self._title}(...).")

    def _arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """Encode the arguments; for a batched function, one value per parameter, in order.

        Raises:
            TypeError: the arguments do not match the signature.
            TransferError: an argument cannot be sent.
        """
        try:
            bound = self._method.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise shown_alone(TypeError(f"{self._method.name}() {error}")) from None
        sent = tuple(bound.arguments.values()) if self._method.batch else (bound.args, bound.kwargs)
        return encode(sent, self._service.namespace, f"what {self._title} is called with")

    def _rows(self, rows: Iterator[tuple[Any, ...]]) -> Iterator[bytes]:
        """Yield the encoded arguments of a map. An error of the user's iterables shows the frames of these alone."""
        try:
            for args in rows:
                yield self._arguments(args, {})
        except Exception as error:  # noqa: BLE001 - of code of the user's
            raise shown_within(error) from None

    def _spawned(self, data: bytes) -> ServiceCall:
        return ServiceCall(self._function.spawn(data), self._service, self._title)

    def _own_errors(self) -> contextlib.AbstractContextManager[None]:
        return self._service.own_errors(lambda: CANCELLED.format(self._title))

    def _results(self, call: MapCall, results: Iterator[Any]) -> Iterator[Any]:
        with self._service.usage.use(), contextlib.closing(results):  # type: ignore[type-var]  # it is a generator
            for data in self._mapped(call, results):
                failed = isinstance(data, BaseException)
                yield self._service.own(data) if failed else decode(data, self._service.namespace)

    def _mapped(self, call: MapCall, results: Iterator[Any]) -> Iterator[Any]:
        """Yield the encoded results of a map."""
        with self._service.own_errors(lambda: (MAP_CANCELLED if call.id else MAP_LEFT).format(self._title)):
            yield from results

    async def _call_aio(self, data: bytes) -> Any:
        with self._service.usage.use():
            spawning = asyncio.ensure_future(self._function.spawn.aio(data))
            try:
                with self._own_errors():
                    call = await asyncio.shield(spawning)
            except asyncio.CancelledError:  # the spawn has been sent, but the call's id is not known yet
                await (await spawning).cancel.aio()
                raise
            return await ServiceCall(call, self._service, self._title).aio()

    # Generators. The first item is the id of the call; a generator that is not read to its end is cancelled.

    def _stream(self, data: bytes) -> Iterator[Any]:
        items, over = self._items(self._function.remote_gen(data)), False
        with self._service.usage.use():
            call_id = self._first(items)
            try:
                for item in items:
                    yield self._item(item)
                over = True
            finally:
                if not over:
                    self._service.cancel(call_id)

    def _first(self, items: Iterator[Any]) -> str | None:
        """Wait for the id of a generator's call in a thread: if ■ ended the wait, nobody could cancel the call."""
        from modal_gpu_magic.sdk.threads import in_thread

        with self._own_errors():
            with HeldPress() as held:
                first = in_thread(lambda: next(items))
                while not (held.pressed or first.done()):
                    wait([first], CHECK_SECONDS)
            if held.pressed:
                first.add_done_callback(self._cancel_late)
                raise KeyboardInterrupt
            call_id: str | None = first.result()
        return call_id

    def _cancel_late(self, first: Future[Any] | asyncio.Future[Any]) -> None:
        """Cancel a call whose id has come after the caller had gone."""
        from modal_gpu_magic.sdk.threads import in_thread

        if not first.cancelled() and first.exception() is None:
            in_thread(lambda: self._service.cancel(first.result()))

    def _items(self, items: Iterator[Any]) -> Iterator[Any]:
        with self._own_errors():
            yield from items

    async def _items_aio(self, items: AsyncIterator[Any]) -> AsyncIterator[Any]:
        with self._own_errors():
            async for item in items:
                yield item

    async def _stream_aio(self, data: bytes) -> AsyncIterator[Any]:
        items, over = self._items_aio(self._function.remote_gen.aio(data)), False
        with self._service.usage.use():
            first = asyncio.ensure_future(anext(items))
            try:
                with self._own_errors():
                    call_id = await asyncio.shield(first)
            except asyncio.CancelledError:
                first.add_done_callback(self._cancel_late)
                raise
            try:
                async for item in items:
                    yield self._item(item)
                over = True
            finally:
                if not over:
                    await asyncio.to_thread(self._service.cancel, call_id)

    def _item(self, item: Any) -> Any:
        if isinstance(item, Fault):
            raise self._service.own(item) from None
        return decode(item, self._service.namespace)


class ServiceCall:
    """A started call: `.get()` waits for its result, `.cancel()` ends it. `id`: Modal's id of the call (`fc-…`)."""

    def __init__(self, call: Any, service: RunningService, title: str) -> None:
        self._call, self._service, self._title = call, service, title
        self._result: Future[Any] | None = None
        self._is_cancelled = False
        self.id: str = call.object_id

    def followed(self) -> ServiceCall:
        """Count the call as running to its end, whether or not anyone waits for its result."""
        self._result = awaited(self._call, self._service.usage)
        return self

    def get(self, timeout: float | None = None) -> Any:
        """Wait for the result. ■ cancels the call.

        Args:
            timeout: maximum wait, seconds; None: no limit.

        Raises:
            TimeoutError: the call has not ended.
            Exception: the function's error.
        """
        try:
            with self._own_errors():
                try:
                    data = self._result.result(timeout) if self._result else self._call.get(timeout=timeout)
                except (TimeoutError, FutureTimeoutError):  # two classes before Python 3.11
                    data = None
        except KeyboardInterrupt:
            self.cancel()
            raise
        if data is None:
            raise shown_alone(TimeoutError(f"{self._title} has not ended after {timeout or 0:g} s.")) from None
        return decode(data, self._service.namespace)

    async def aio(self) -> Any:
        """Wait for the result in a coroutine. Cancelling the task cancels the call."""
        try:
            with self._own_errors():
                waiting = asyncio.wrap_future(self._result) if self._result else self._call.get.aio()
                data = await waiting
        except asyncio.CancelledError:
            await self._call.cancel.aio()
            raise
        return decode(data, self._service.namespace)

    def cancel(self) -> None:
        """Cancel the call; its container keeps running."""
        self._is_cancelled = True
        with contextlib.suppress(Exception):  # the call or its App has ended
            self._call.cancel()

    @contextlib.contextmanager
    def _own_errors(self) -> Iterator[None]:
        with self._service.own_errors(lambda: CANCELLED.format(self._title)):
            try:
                yield
            except Exception as error:
                if self._is_cancelled and not isinstance(error, Fault):
                    raise ServiceError(f"the call of {self._title} was cancelled.") from None
                raise

    def __repr__(self) -> str:
        return f"<call {self.id} of {self._service.name}>"
