"""One container of a service: runs the cell's top level once, then answers calls of the functions it defined.

`Host` is to a service what `Worker` is to a session, except that its shell runs a single cell. Afterwards, the output
of the functions goes to Modal's log, as in code written by hand.
"""

from __future__ import annotations

import inspect
import os
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from modal_gpu_magic._version import __version__
from modal_gpu_magic.container.cell import tracebacks
from modal_gpu_magic.container.cell.shell import Outcome, RemoteShell, make_shell
from modal_gpu_magic.container.gpu import current
from modal_gpu_magic.container.output.capture import Capture
from modal_gpu_magic.container.output.event_sender import EventSender
from modal_gpu_magic.container.output.stdin_proxy import StdinProxy
from modal_gpu_magic.container.process import essentials
from modal_gpu_magic.container.process.container_start import began_at
from modal_gpu_magic.container.state import cache
from modal_gpu_magic.container.state.modules import LocalModules
from modal_gpu_magic.container.state.process import ProcessState
from modal_gpu_magic.container.state.workdir import Workdir
from modal_gpu_magic.errors import ModalGpuError, ServiceError
from modal_gpu_magic.wire.buffers.stores import InlineStore, SharedStore, Store
from modal_gpu_magic.wire.calls import WAKE, Fault, Program, decode, encode, failure_of
from modal_gpu_magic.wire.inspection.own_modules import follow_imports, own_modules
from modal_gpu_magic.wire.messages.batching import batched
from modal_gpu_magic.wire.messages.events import Answer, Failure
from modal_gpu_magic.wire.transfer import unpack
from modal_gpu_magic.wire.values.own_code import words_of
from modal_gpu_magic.wire.values.submodules import import_submodules

Post = Callable[[list[bytes]], None]
FAILS = (Exception, SystemExit)
"""What user code may raise in a call. Modal stops a call, or the container, by other exceptions."""


class Host:
    """The callable functions of a service. `post` sends the output of the top level.

    Raises:
        Fault: the top level failed; the container does not start.
    """

    def __init__(self, program: Program, post: Post) -> None:
        self.program = program
        booted = began_at(os.environ)
        cache.settle(os.environ)
        current.publish(program.asked, (), os.environ)
        self._workdir = Workdir(Path.cwd())
        sender = EventSender()
        capture = Capture(sender)
        self._shell: RemoteShell = make_shell(sender, StdinProxy(sender).ask)
        self._namespace: dict[str, Any] = self._shell.user_ns
        self._rendering = threading.Lock()
        generation = uuid.uuid4().hex[:12]
        sender.begin(f"{program.service}/{generation}", post)
        sender.emit("started", generation=generation, time=time.time(), booted_at=booted)
        simulated = bool(program.asked.specs) and current.is_simulated(os.environ)
        answer = replace(self._start(), generation=generation, booted_at=booted, simulated=simulated)
        capture.drain()
        sender.emit("end", answer=answer)
        sender.flush_now()
        capture.close()
        if answer.failure is not None:
            raise Fault(answer.failure)

    def call(self, name: str, data: bytes) -> bytes:
        """Call a plain function."""
        if data == WAKE:
            return WAKE
        try:
            return self._encoded(name, self._begin(name, data))
        except FAILS as error:
            raise self._fault(error) from error

    async def call_async(self, name: str, data: bytes) -> bytes:
        """Call a coroutine function."""
        if data == WAKE:
            return WAKE
        try:
            return self._encoded(name, await _awaited(self._begin(name, data)))
        except FAILS as error:
            raise self._fault(error) from error

    def stream(self, name: str, data: bytes) -> Iterator[bytes | Fault]:
        """Yield a generator's items, and an error as the last item: if raised, it would overtake items in transit."""
        if data == WAKE:
            return
        try:
            for item in self._begin(name, data):
                yield self._encoded(name, item)
        except FAILS as error:
            yield self._fault(error)

    async def stream_async(self, name: str, data: bytes) -> AsyncIterator[bytes | Fault]:
        """Yield an async generator's items; see `stream`."""
        if data == WAKE:
            return
        try:
            async for item in self._begin(name, data):
                yield self._encoded(name, item)
        except FAILS as error:
            yield self._fault(error)

    def batch(self, name: str, rows: list[bytes]) -> list[bytes]:
        """Run many calls of a batched function as one: each argument is the list of the calls' arguments."""
        try:
            calls = [row for row in rows if row != WAKE]
            results = self._namespace[name](*self._columns(calls)) if calls else []
            return self._distributed(name, rows, calls, results)
        except FAILS as error:
            raise self._fault(error) from error

    async def batch_async(self, name: str, rows: list[bytes]) -> list[bytes]:
        """Run many calls of a batched coroutine function as one; see `batch`."""
        try:
            calls = [row for row in rows if row != WAKE]
            results = await _awaited(self._namespace[name](*self._columns(calls))) if calls else []
            return self._distributed(name, rows, calls, results)
        except FAILS as error:
            raise self._fault(error) from error

    # The start.

    def _start(self) -> Answer:
        """Read the notebook's values and run the top level; the answer states how the top level ended."""
        began = time.time()
        try:
            ProcessState(self._shell).take(self.program.states)
            failed = self._arrive()
        except Exception as error:  # noqa: BLE001 - a missing buffer, a value that cannot be made
            return self._answer(began, self._failure(error))
        outcome = self._shell.run(self.program.source, self.program.count) if self.program.source else Outcome()
        essentials.cell_begins()  # for good: calls are user code, as well
        if outcome.error is not None:
            failure = failure_of(outcome.error, outcome.traceback, outcome.evalue, self._namespace)
            return self._answer(began, failure, failed)
        lacking = [name for name in self.program.functions if not callable(self._namespace.get(name))]
        if lacking:
            are = "is not a function" if len(lacking) == 1 else "are not functions"
            missing = ServiceError(
                f"{', '.join(lacking)} {are} after the cell's top level has run: a decorator or a later line has "
                "bound the name to something else. Begin a name with _ if it is not to be served."
            )
            return self._answer(began, self._failure(missing), failed)
        return self._answer(began, None, failed)

    def _arrive(self) -> dict[str, str]:
        values, namespace = self.program.values, self._namespace
        self._workdir.enter(self.program.files.place)
        if self.program.modules is not None:
            LocalModules(self._workdir).take(self.program.modules, namespace)
        self._workdir.take(self.program.files)
        store: Store = SharedStore(self.program.store) if self.program.store else InlineStore(dict(values.inline))
        import_submodules(self.program.submodules)
        follow_imports(namespace)
        arrived = unpack(values, namespace, store, restore_devices=True)
        own_modules().take(arrived.values)
        namespace["batched"] = batched
        namespace.update(arrived.values)
        return arrived.failed

    @staticmethod
    def _answer(began: float, failure: Failure | None, failed: dict[str, str] | None = None) -> Answer:
        version = __version__
        return Answer("", version, failure=failure, failed=failed or {}, started_at=began, ended_at=time.time())

    # A call.

    def _begin(self, name: str, data: bytes) -> Any:
        args, kwargs = decode(data, self._namespace)
        return self._namespace[name](*args, **kwargs)

    def _encoded(self, name: str, value: Any) -> bytes:
        return encode(value, self._namespace, f"the result of {name}")

    def _columns(self, calls: list[bytes]) -> list[list[Any]]:
        return [list(column) for column in zip(*(decode(row, self._namespace) for row in calls), strict=True)]

    def _distributed(self, name: str, rows: list[bytes], calls: list[bytes], results: Any) -> list[bytes]:
        """Return the results in the order of `rows`; wake-up calls get `WAKE`."""
        if not isinstance(results, list) or len(results) != len(calls):
            got = f"a list of {len(results)}" if isinstance(results, list) else f"a {type(results).__name__}"
            raise ServiceError(
                f"{name} was called with lists of {len(calls)} and returned {got}; "
                "a batched function returns a list with one result per call."
            )
        following = iter(results)
        return [WAKE if row == WAKE else self._encoded(name, next(following)) for row in rows]

    def _fault(self, error: BaseException) -> Fault:
        return Fault(self._failure(error))

    def _failure(self, error: BaseException) -> Failure:
        if isinstance(error, ModalGpuError):  # a sentence of this package, whose frames say nothing
            return failure_of(error, (), words_of(error), self._namespace)
        tracebacks.cut_ours(error)
        render: Any = self._shell.InteractiveTB.structured_traceback
        with self._rendering:  # IPython's renderer keeps state while it formats a traceback
            lines = render(type(error), error, error.__traceback__, tb_offset=0)
        return failure_of(error, tuple(lines), words_of(error), self._namespace)


async def _awaited(value: Any) -> Any:
    """Await `value` if needed: a decorator may have turned a coroutine function into a plain one."""
    return await value if inspect.isawaitable(value) else value
