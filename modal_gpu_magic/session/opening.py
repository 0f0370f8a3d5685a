"""The App of a session: begin to open the App, wait for it, end it, leave it."""

from __future__ import annotations

import platform
import queue
import time
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar
from uuid import uuid4

from modal_gpu_magic.catalog.limits import FUNCTION_TIMEOUT
from modal_gpu_magic.plan.machine.quote import worst_words
from modal_gpu_magic.sdk.deployed import DeployedApp, Deployment
from modal_gpu_magic.sdk.known_sessions import remember
from modal_gpu_magic.sdk.names import object_name
from modal_gpu_magic.sdk.registry import Entry, machine_row
from modal_gpu_magic.sdk.threads import result_of
from modal_gpu_magic.session.app_opening import Opening
from modal_gpu_magic.session.run.interrupts import Inbox, stopped
from modal_gpu_magic.session.run.pump import UPDATE_SECONDS
from modal_gpu_magic.session.run.remarks import remarks
from modal_gpu_magic.session.run.waiting import image_words
from modal_gpu_magic.session.shared_state import SharedState

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from modal_gpu_magic.sdk.app import OpenApp
    from modal_gpu_magic.session.run.cell import Cell
    from modal_gpu_magic.session.run.front import Front, Phase

T = TypeVar("T")
DETACHED = (
    "Session {0} keeps running without this notebook; a cell costs {1}. `%modal_gpu attach {0}` continues it in any "
    "notebook, `%modal_gpu stop {0}` ends it."
)


class AppHolder(SharedState):
    """A session that opens its App when a cell needs the App."""

    @property
    def is_open(self) -> bool:
        """Whether the session has an App that starts, runs or is idle."""
        return self._opening is not None and not self._opening.dead

    @property
    def app(self) -> OpenApp | None:
        """The session's App, if it is open."""
        return self._opening.app if self._opening is not None and not self._opening.dead else None

    def discard_dead_app(self, say: Callable[[str], None]) -> None:
        """Discard an App that can no longer run cells, before the values to send are chosen; say what was lost."""
        opening = self._opening
        if opening is None or not opening.dead:
            return
        why, self._opening = opening.why_dead, None
        if opening.app is not None:
            opening.app.close_soon()  # its threads and hooks
        self.status.ended()
        if self.machine.saves and self.generation and opening.leaves_saved_state:
            self.container_ended()
            say(why)
            return
        lost = self.forget()
        if why:
            say(with_lost(why, lost))

    def _idle_until(self) -> float | None:
        return time.time() + self.machine.scaledown if self.is_open else None

    def _open(self, cell: Cell, front: Front, inbox: Inbox) -> OpenApp:
        """Wait for the session's App and show its progress. ■ ends the wait; the App still opens, for the next cell."""
        return self._wait_open(self._begin_opening(cell, front), front, inbox)

    def _begin_opening(self, cell: Cell, front: Front) -> Opening:
        """Return the session's App, which begins to open if the session has none."""
        if self._opening is None:
            machine = replace(self.machine, cache=self.machine.cache and self.cache)
            self._opening = Opening(self.name, machine, self.backend, cell.packages, self._deployment())
            for line in remarks(self.machine, self.backend):
                front.say(line)
            if machine.detach and not self._is_attaching:
                seconds, is_free = cell.timeout or FUNCTION_TIMEOUT, self.backend == "local"
                at_most = worst_words(machine.per_hour, seconds, machine.scaledown, is_free=is_free)
                front.say(DETACHED.format(self.name, at_most))
        return self._opening

    def _wait_open(self, opening: Opening, front: Front, inbox: Inbox) -> OpenApp:
        """Wait for an App and show its progress."""
        if not opening.ready:
            opening.when_ready(lambda: inbox.put(("opened", None)))
        since = opening.since
        phase: Phase = "connecting"
        while not opening.ready:
            kind = _take(inbox)
            if kind == "press":
                raise stopped("stopped; the machine is still being made, for the next cell")
            if opening.connected and phase == "connecting":
                since, phase = opening.connected_at, "building"
                self.status.enters("building")
            if kind == "tick":
                words = image_words(self.machine) if phase == "building" else ""
                front.show(self.status.state(phase, self.machine.title, time.monotonic() - since, words))
        app = opening.result()
        if isinstance(app, DeployedApp):
            self._is_attaching = False
            app.queued = self._queued
            remember(self.name, self.backend, self.notebook)
        self._share_store(app)
        return app

    def _queued(self) -> tuple[str, ...]:
        """Names of the background cells that wait."""
        return ()

    def _share_store(self, app: OpenApp | None) -> None:
        """Send large values through the App's store; None: the App is not open yet, and the message carries all."""
        self.store = None if app is None else app.store
        self.values.unwritten = self.store.unwritten if self.store else None

    def _close(self) -> None:
        """End the App of the session's machine."""
        opening, self._opening = self._opening, None
        if opening is not None and isinstance(app := opening.app, DeployedApp) and not app.closed:
            app.terminate()  # the Volume stays: the next container goes on with what it has
        self.status.ended()
        if opening is not None:
            opening.close()

    def _leave(self) -> None:
        """Leave the App of a detached session, which goes on."""
        self.status.book.left()
        if self._opening is not None:
            self._opening.close()
            self._opening = None

    def taken_over(self, words: str) -> None:
        """Note that another kernel has the session; its values are there."""
        self.forget()
        self._leave()
        self._taken = words

    def _deployment(self) -> Deployment | None:
        """Return what makes this session a detached one; None: the session ends with the kernel."""
        if not self.machine.detach:
            return None
        self._claim = self._claim or uuid4().hex
        mine = Entry(
            session=self.name,
            app=object_name(self.prefix, self.name) if self._found is None else self._found.app,
            machine=machine_row(self.machine),
            title=self.machine.title,
            hourly=self._hourly(),
            idle_seconds=self.machine.scaledown,
            owner=self._claim,
            owner_name=self.owner_name or f"a kernel on {platform.node()}",
            owned_at=time.time(),
        )
        return Deployment(mine, exists=self._is_attaching)


def with_lost(words: str, lost: tuple[str, ...], why: str = "") -> str:
    """Return a sentence about a container that has ended, with the names that are lost, and why."""
    reason = f" ({why})" if why and lost else ""
    return f"{words} Lost with it: {', '.join(lost)}{reason}." if lost else words


def wait_for(future: Future[T], inbox: Inbox | None, words: str) -> T:
    """Return the result of a future. ■ ends the wait, and not the work.

    Args:
        future: the work.
        inbox: gets presses of ■; None: ■ raises KeyboardInterrupt by itself.
        words: what the line about the press says.

    Raises:
        KeyboardInterrupt: ■ was pressed.
    """
    if inbox is None:
        return result_of(future)
    future.add_done_callback(lambda _: inbox.put(("opened", None)))
    while not future.done():
        if _take(inbox) == "press":
            raise stopped(words)
    return future.result()


def _take(inbox: Inbox) -> str:
    try:
        return inbox.get(timeout=UPDATE_SECONDS)[0]
    except queue.Empty:
        return "tick"
