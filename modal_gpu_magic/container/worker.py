"""One container's life: a shell, an outlet, a namespace; each request becomes one answer, whatever user code does.

Reads as the far half of one cell's way: check the generation, take in what came, run the cell, let go home what fits.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import replace

import modal_gpu_magic
from modal_gpu_magic.container import installs, ranks
from modal_gpu_magic.container.ask import Asker
from modal_gpu_magic.container.capture import Capture
from modal_gpu_magic.container.failures import failure_of
from modal_gpu_magic.container.interrupt import Interrupt
from modal_gpu_magic.container.outlet import Outlet
from modal_gpu_magic.container.ranks import Place, Ran
from modal_gpu_magic.container.shell import make_shell
from modal_gpu_magic.container.values import Belongings, Leaving
from modal_gpu_magic.container.watchdog import Watchdog
from modal_gpu_magic.wire.buffers import InlineStore, SharedStore, Store
from modal_gpu_magic.wire.events import Answer, Event, Need, Request, Transfer

Post = Callable[[list[bytes]], None]
BEGIN_SECONDS = 1.0
"""How long user code waits until `started` is on its way (a C call that holds the GIL freezes our threads)."""


class Worker:
    """The session's container side. `run` is called once a cell, on the main thread."""

    def __init__(self, session: str, place: Place | None = None) -> None:
        self.session, self.place = session, place or Place()
        self.generation = uuid.uuid4().hex[:12]
        self.booted_at = time.time()
        self.outlet = Outlet()
        self.capture = Capture(self.outlet)
        self.asker = Asker(self.outlet)
        self.shell = make_shell(self.outlet, self.asker.ask)
        self.belongings = Belongings(self.shell.user_ns, tuple(self.shell.user_ns))
        self.last: Answer | None = None
        self.last_run = ""
        self._stores: dict[str, SharedStore] = {}

    def run(self, request: Request, post: Post, answer: Callable[[], str]) -> Answer:
        """Run one cell. Never raises for what user code does: the answer says how it ended."""
        if request.run == self.last_run and self.last is not None:
            return self.last  # the same input, delivered again
        need = self._need(request)
        if need is not None:
            return self._answer(need=need)
        self.outlet.begin(f"{request.run}/{self.generation}", post)
        self.asker.begin(answer if request.stdin else None)
        with Interrupt() as interrupt, Watchdog(interrupt, request.timeout, self.outlet.flush_now):
            ended = self._cell(request, interrupt)
            self.capture.drain()
            self._close(ended, interrupt)
        self.last, self.last_run = self._with_tail(ended), request.run
        return self.last

    def fetch(self, names: tuple[str, ...], store: str | None) -> Transfer:
        """Values that stayed, asked for by name."""
        return self.belongings.take(names, self._store(store))

    def replay(self, run: str, number: int) -> tuple[Event, ...]:
        """Events of the last run from `number` on; none if it is another run."""
        return self.outlet.events_from(number) if run == self.last_run else ()

    def close(self) -> None:
        """The container is scaled down: what cells left running ends with it."""
        self.capture.drain()

    def _close(self, ended: Answer, interrupt: Interrupt) -> None:
        """After ■ the server throws the call's result away: the end goes through the queue."""
        if interrupt.asked:
            self._say_end(ended)

    def _say_end(self, ended: Answer) -> None:
        self.outlet.emit("end", answer=ended)
        self.outlet.flush_now()

    def _need(self, request: Request) -> Need | None:
        """Whether this container is not the one the run relies on; then nothing of the user's runs."""
        if request.version != modal_gpu_magic.__version__:
            return Need(self.generation, "version", version=modal_gpu_magic.__version__)
        if request.generation is not None and request.generation != self.generation:
            return Need(self.generation, "generation")
        store = self._store(request.store, request.values)
        missing = tuple(key for key in request.values.buffers if not store.has(key))
        return Need(self.generation, "buffers", missing) if missing else None

    def _cell(self, request: Request, interrupt: Interrupt) -> Answer:
        store = self._store(request.store, request.values)
        self.outlet.emit("started", generation=self.generation)
        self.outlet.flush_now(0)
        if request.clean:
            self._clean()
        installs.install(request.installs, request.imports, lambda text: self.outlet.emit("note", text=text))
        failed = self.belongings.arrive(request, store)
        self.shell.take_underscores()
        before = self.belongings.before(request)
        self.outlet.flush_now(BEGIN_SECONDS)
        ran = self._ran(request, interrupt)
        leaving = self.belongings.leave(request, before, ran.result, ran.seconds, self._store(request.store))
        return self._answer(ran=ran, leaving=leaving.without(ran.lost), failed=failed, interrupt=interrupt)

    def _ran(self, request: Request, interrupt: Interrupt) -> Ran:
        """User code: in this process, or in ranks."""
        if request.spread is not None:
            return ranks.run(request, self.place, self.shell, self.outlet, self.asker, interrupt)
        started = time.time()
        outcome = self.shell.run(request.source, request.execution_count, interrupt)
        return Ran(outcome.result, failure_of(outcome, self.shell.user_ns), (), started, time.time())

    def _clean(self) -> None:
        """`--clean`: an empty namespace, as after a restart; imported modules stay loaded."""
        for name in self.belongings.names:
            del self.shell.user_ns[name]
        self.belongings.prints.clear()

    def _store(self, directory: str | None, values: Transfer | None = None) -> Store:
        if directory is None:
            return InlineStore(dict(values.inline) if values else {})
        if directory not in self._stores:
            self._stores[directory] = SharedStore(directory)
        return self._stores[directory]

    def _with_tail(self, ended: Answer) -> Answer:
        finished = self.outlet.finish()
        return replace(ended, frames=finished.frames, events=finished.events, tail=finished.tail)

    def _answer(
        self,
        *,
        need: Need | None = None,
        ran: Ran | None = None,
        leaving: Leaving | None = None,
        failed: dict[str, str] | None = None,
        interrupt: Interrupt | None = None,
    ) -> Answer:
        return Answer(
            generation=self.generation,
            version=modal_gpu_magic.__version__,
            need=need,
            values=leaving.values if leaving else None,
            stays=leaving.stays if leaving else (),
            kept=leaving.kept if leaving else frozenset(),
            gone=leaving.gone if leaving else (),
            looks=leaving.looks if leaving else {},
            submodules=leaving.submodules if leaving else (),
            failed=failed or {},
            failure=ran.failure if ran else None,
            stopped=bool(interrupt and interrupt.asked),
            timed_out=bool(interrupt and interrupt.timed_out),
            started_at=ran.started_at if ran else 0.0,
            ended_at=ran.ended_at if ran else 0.0,
            booted_at=self.booted_at,
            names=self.belongings.names,
        )
