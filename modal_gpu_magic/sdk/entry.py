"""The Runner class that Modal calls in the container: forwards to `container.worker`. One container per session.

The kernel defines the class and needs nothing of the container, which is therefore imported when it starts.
"""

import contextlib
import functools
import queue
import time
from collections.abc import Callable
from functools import partial
from operator import methodcaller
from typing import Any

import modal

from modal_gpu_magic.catalog.limits import FUNCTION_TIMEOUT
from modal_gpu_magic.container.state.session_mount import NO_SESSION_VOLUME, SessionVolume
from modal_gpu_magic.container.state.volumes import NO_VOLUMES, Volumes
from modal_gpu_magic.errors import DamagedError
from modal_gpu_magic.wire.messages.events import Answer, Event, RemoteFile, Request, RunTrace, Transfer
from modal_gpu_magic.wire.messages.parcel import WAIT_SECONDS, Parcel, joined
from modal_gpu_magic.wire.messages.stdin import each_once, stdin_partition

STDIN_SECONDS = FUNCTION_TIMEOUT
"""Seconds that `input()` waits for its answer: as long as a Function may run."""


class Runner:
    """The generic class of every App: a cell is an argument of `run`, so a new cell needs no new definition.

    Attributes:
        session: name of the session.
    """

    session = "default"

    @modal.enter()
    def start(self) -> None:
        """Make the shell before the first cell."""
        from modal_gpu_magic.container.worker import Worker
        from modal_gpu_magic.wire.inspection.own_modules import follow_imports

        self.worker = Worker(self.session)
        follow_imports(self.worker.namespace_sync.namespace)

    @modal.method()
    def run(self, sent: Request | Parcel, events: modal.Queue) -> Answer:
        """Run one cell; put its events into `events` during the run, and the rest into the answer."""
        if (known := self.worker.known(sent.run)) is not None:
            return known
        request = received(sent, events) if isinstance(sent, Parcel) else sent
        if request is None:
            return self.worker.lacks_parts()

        def post(frames: list[bytes]) -> None:
            # Never a blocking put: with a full queue, the SDK would wait up to 30 s.
            events.put_many(frames, block=False)

        answer = answers_from(events, request.run)
        volumes, volume = mounted(request.volumes), session_volume(request.session_volume)
        call = modal.current_function_call_id() or ""
        return self.worker.run(request, post, answer, volumes, volume, call=call)

    @modal.method()
    def fetch(
        self,
        names: tuple[str, ...],
        store: str | None,
        received: tuple[int, ...],
        forgot: tuple[int, ...],
        generation: str | None = None,
        history: tuple[RunTrace, ...] = (),
        owner: str = "",
    ) -> Transfer:
        """Return values that stayed, on request."""
        return self.worker.fetch(names, store, received, forgot, generation, history, owner)

    @modal.method()
    def hand_over(self, owner: str, run: str, store: str | None) -> Answer:
        """Give a detached session to a kernel that attaches, with the values of its last run."""
        return self.worker.hand_over(owner, run, store)

    @modal.method()
    def save(self) -> dict[str, str] | None:
        """Save the session's state now; return what is not saved, with the reasons. None: nothing could be saved."""
        return self.worker.save()

    @modal.method()
    def ended(self, run: str) -> Answer | None:
        """Return the answer of a run whose answer was lost in transit; None: the run did not and will not begin."""
        return self.worker.delivery.answer_or_give_up(run)

    @modal.method()
    def discard(self) -> None:
        """Save nothing at the end of the container: the user ends the session."""
        self.worker.saved.discard()

    @modal.method()
    def listed(self, generation: str, path: str) -> tuple[RemoteFile, ...]:
        """List the file at a path of the working directory, or all files below the path."""
        return self.worker.listed(generation, path)

    @modal.method()
    def part(self, generation: str, path: str, offset: int, nbytes: int) -> bytes:
        """Read up to `nbytes` bytes of a file; fewer at the end of the file."""
        return self.worker.part(generation, path, offset, nbytes)

    @modal.method()
    def replay(self, run: str, number: int) -> tuple[Event, ...]:
        """Return a run's events from `number` on, for a reader that missed some."""
        return self.worker.delivery.events_from(run, number)

    @modal.exit()
    def stop(self) -> None:
        """End background work of the session's cells, at scale-down."""
        with contextlib.suppress(Exception):
            self.worker.close()


def runner_of(session: str) -> type[Runner]:
    """Return the Runner of a session. No module has this class, so the SDK pickles it by value, with the name.

    Not a `modal.parameter`: binding one takes a round trip, and sessions with one App would also end together.
    """
    return type(Runner.__name__, (Runner,), {"session": session, "__doc__": Runner.__doc__})


def answers_from(events: modal.Queue, run: str) -> Callable[[], str]:
    """Return a function that waits for the next answer to an `input()` of the run."""
    return each_once(partial(events.get, partition=stdin_partition(run), timeout=STDIN_SECONDS))


def received(parcel: Parcel, events: modal.Queue) -> Request | None:
    """Return the request whose parts come through the queue; None: they do not come, or are damaged."""
    deadline = time.monotonic() + WAIT_SECONDS
    parts: list[bytes] = []
    while len(parts) < parcel.parts and (left := deadline - time.monotonic()) > 0:
        with contextlib.suppress(queue.Empty):
            parts += events.get_many(parcel.parts - len(parts), partition=parcel.partition, timeout=left)
    try:
        return joined(parts)
    except DamagedError:
        return None


@functools.cache
def mounted(names: tuple[str, ...]) -> Volumes:
    """Return the reload and commit actions of this container's Volumes."""
    if not names:
        return NO_VOLUMES
    volumes = {name: modal.Volume.from_name(name) for name in names}
    return Volumes(
        {name: functools.partial(methodcaller("reload"), volume) for name, volume in volumes.items()},
        {name: functools.partial(methodcaller("commit"), volume) for name, volume in volumes.items()},
    )


@functools.cache
def session_volume(volume_id: str) -> SessionVolume:
    """Return what this container may ask of the session Volume."""
    if not volume_id:
        return NO_SESSION_VOLUME
    volume = modal.Volume.from_id(volume_id)
    return SessionVolume(
        functools.partial(methodcaller("commit"), volume), functools.partial(methodcaller("reload"), volume)
    )


def methods() -> dict[str, Any]:
    """Return the fixed options of the class: one container per session, no re-runs of a cell."""
    return {"serialized": True, "max_containers": 1}
