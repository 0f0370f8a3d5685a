"""What Modal calls in the container: a thin shell around `container.worker`. One container is one session's."""

# No `from __future__ import annotations`: modal.parameter reads the class's annotations as types.
import contextlib
import functools
from operator import methodcaller
from typing import Any

import modal

from modal_gpu_magic.catalog.limits import FUNCTION_TIMEOUT
from modal_gpu_magic.container.state.volumes import NO_VOLUMES, Volumes
from modal_gpu_magic.container.worker import Worker
from modal_gpu_magic.wire.messages.events import Answer, Event, FileThere, Request, Transfer

STDIN_SECONDS = FUNCTION_TIMEOUT
"""How long `input()` waits for its answer: as long as a Function may run."""


class Runner:
    """The one generic class of every App: a cell is an argument of `run`, so nothing is redefined between cells."""

    session: str = modal.parameter(default="default")

    @modal.enter()
    def start(self) -> None:
        """Make the shell; the first cell finds it warm."""
        self.worker = Worker(self.session)

    @modal.method()
    def run(self, request: Request, events: modal.Queue) -> Answer:
        """Run one cell; its events go to `events` while it runs, the rest rides on the answer."""

        def post(frames: list[bytes]) -> None:
            # Never a blocking put: a full queue backs off up to 30 s (slice-findings.md, section 2).
            events.put_many(frames, block=False)

        def answer() -> str:
            return str(events.get(partition=f"stdin-{request.run}", timeout=STDIN_SECONDS))

        return self.worker.run(request, post, answer, mounted(request.volumes))

    @modal.method()
    def fetch(self, names: tuple[str, ...], store: str | None, received: tuple[int, ...]) -> Transfer:
        """Values that stayed, on request."""
        return self.worker.fetch(names, store, received)

    @modal.method()
    def ended(self, run: str) -> Answer | None:
        """How a run ended whose answer was lost on its way; None: it did not begin, and will not any more."""
        return self.worker.ended(run)

    @modal.method()
    def listed(self, generation: str, path: str) -> tuple[FileThere, ...]:
        """The file at a path of the working directory, or all files below it."""
        return self.worker.listed(generation, path)

    @modal.method()
    def part(self, generation: str, path: str, offset: int, nbytes: int) -> bytes:
        """Some bytes of a file; fewer at its end."""
        return self.worker.part(generation, path, offset, nbytes)

    @modal.method()
    def replay(self, run: str, number: int) -> tuple[Event, ...]:
        """A run's events from `number` on, for a reader that missed some."""
        return self.worker.replay(run, number)

    @modal.exit()
    def stop(self) -> None:
        """Scale-down: end what the session's cells left running."""
        with contextlib.suppress(Exception):
            self.worker.close()


@functools.cache
def mounted(names: tuple[str, ...]) -> Volumes:
    """What reloads and commits the Volumes of this container."""
    if not names:
        return NO_VOLUMES
    volumes = {name: modal.Volume.from_name(name) for name in names}
    return Volumes(
        {name: functools.partial(methodcaller("reload"), volume) for name, volume in volumes.items()},
        {name: functools.partial(methodcaller("commit"), volume) for name, volume in volumes.items()},
    )


def methods() -> dict[str, Any]:
    """Options of the class that are ours and never the user's (one container a session; no re-runs of a cell)."""
    return {"serialized": True, "max_containers": 1}
