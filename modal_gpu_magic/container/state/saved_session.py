"""The saved state of the session that this container serves: what is restored, what is saved, and when."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from modal_gpu_magic.container.state import last_save
from modal_gpu_magic.container.state.idle import After, IdleWork
from modal_gpu_magic.container.state.restoring import NOT_RELATED, Plan, Restorer, never, reader
from modal_gpu_magic.container.state.saving import Interrupted, NotOwnerError, Saver
from modal_gpu_magic.container.state.session_mount import NO_SESSION_VOLUME, SessionVolume
from modal_gpu_magic.errors import DamagedError
from modal_gpu_magic.wire.inspection.size import size_text
from modal_gpu_magic.wire.pickles.identity import first_base
from modal_gpu_magic.wire.saved.reading import SavedState
from modal_gpu_magic.wire.values.kinds import name_of
from modal_gpu_magic.wire.values.own_code import pass_on, words_of
from modal_gpu_magic.wire.values.remote import held_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from modal_gpu_magic.container.state.namespace import NamespaceSync
    from modal_gpu_magic.container.state.saving import Check, Moment
    from modal_gpu_magic.wire.messages.events import Request, RunTrace

IDLE_SECONDS: Final = 5.0
"""Seconds without a cell after which the state is saved."""
REST_SECONDS: Final = 0.05
"""Seconds without a cell after which the rest of a saved state is loaded."""
IDLE_VARIABLE: Final = "MODAL_GPU_SAVE_AFTER"
"""Environment variable with other seconds than `IDLE_SECONDS`, for tests."""
POLL_SECONDS: Final = 0.05
"""Seconds between two looks whether the session's former container has saved the state."""
NAMED: Final = 6
"""Names that a line lists at most."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the last request says of saving.

    Attributes:
        limit: size of the values in bytes; 0: nothing is saved.
        volume: the session Volume.
    """

    limit: int = 0
    volume: SessionVolume = NO_SESSION_VOLUME


class SavedSession:
    """The saved state of one session, in the container.

    Args:
        directory: the directory of the state; None: no Volume is mounted.
        owner: name of this container.
        sync: the namespace.
        moment: returns what is saved beside the values.
        seconds: seconds without a cell after which the state is saved.

    Attributes:
        saved_run: the last run whose changes are saved; empty: none.
        last_run: the last run that may have changed the namespace, in this container or in the one whose state was
            restored; empty: none.
    """

    def __init__(
        self,
        directory: Path | None,
        owner: str,
        sync: NamespaceSync,
        moment: Callable[[], Moment],
        seconds: float | None = None,
    ) -> None:
        self._sync, self._moment, self._directory = sync, moment, directory
        self._saver = None if directory is None else Saver(directory, owner)
        self._restorer: Restorer | None = None
        self._has_begun = False
        self._unsaid: Restorer | None = None
        """What was restored and not yet said."""
        self._options = Options()
        self._is_dirty = False
        self._said: dict[str, str] = {}
        self._news: list[str] = []
        self._unsaved: dict[str, str] = {}
        self._check: Check = never
        self.saved_run = self.last_run = ""
        after = float(os.environ.get(IDLE_VARIABLE, IDLE_SECONDS)) if seconds is None else seconds
        self._idle = IdleWork(((REST_SECONDS, self._load_rest), (after, self._save)))

    # Cells.

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """A cell or a fetch runs inside the block: nothing is loaded or saved meanwhile."""
        with self._idle.busy():
            yield

    @property
    def has_run(self) -> bool:
        """Whether the namespace has had a run, in this container or in the one whose state was restored."""
        return bool(self.last_run)

    def ran(self, run: str) -> None:
        """Note that a run may change the namespace: from now on, this container writes the state."""
        self.last_run, self._is_dirty = run, True
        if self._saver is not None and self._options.limit:
            with contextlib.suppress(OSError):
                self._saver.claim()

    def fetched(self) -> None:
        """Note that the notebook has other objects than at the last save."""
        self._is_dirty = bool(self.last_run)

    def options(self, options: Options) -> None:
        """Take over what a request says of saving."""
        self._options = options

    def discard(self) -> None:
        """Save nothing any more: the user ends the session, and would pay for it."""
        self._options = Options()

    def take_news(self) -> list[str]:
        """Return the sentences about saving that the notebook has not had."""
        news, self._news = self._news, []
        return news

    # Restoring.

    @property
    def is_mounted(self) -> bool:
        """Whether the session Volume is mounted, so that the session's next container can restore what is saved."""
        return self._directory is not None

    def plan(
        self, generation: str, history: tuple[RunTrace, ...], fetched: Sequence[int], python: str, claim: str = ""
    ) -> Plan | str:
        """Return how this container can go on with a namespace, or why not.

        Args:
            generation: the life of the namespace.
            history: the runs that the notebook knows, since a save that it knows, with the names they may have changed.
            fetched: first tokens of the fetches that the notebook has received since its last run.
            python: minor version of this container's Python.
            claim: the kernel's claim on a detached session: a state of another claim knows none of its objects.
        """
        runs = [each.run for each in history]
        state = self._latest(lambda run: run in runs)
        if isinstance(state, str):
            return state
        if state.manifest.python != python or state.generation != generation:
            return NOT_RELATED
        if state.run not in runs:
            return NOT_RELATED
        later = history[runs.index(state.run) + 1 :]
        is_known = state.manifest.claim == claim
        if is_known and not later and all(base < first_base(state.manifest.sync.transfers + 1) for base in fetched):
            return Plan(state, continues=True)
        any_name = any(each.names is None for each in later)
        changed = frozenset[str]().union(*(each.names or () for each in later))
        return Plan(state, continues=False, changed=None if any_name else changed)

    def plan_any(self, python: str) -> Plan | str:
        """Return how this container restores whatever is saved, for a notebook that knows nothing of it."""
        state = self._latest(bool)
        if isinstance(state, str):
            return state
        return Plan(state, continues=False) if state.manifest.python == python else NOT_RELATED

    def _latest(self, counts: Callable[[str], bool]) -> SavedState | str:
        """Return the saved state, or why there is none.

        Args:
            counts: whether the state after a run is worth a wait, while the session's former container saves it.
        """
        until = time.monotonic() + last_save.SECONDS
        while True:
            run = last_save.announced_run(self._directory) if self._directory is not None else ""
            state = self._opened()
            is_saved = isinstance(state, SavedState) and state.run == run
            if not run or not counts(run) or is_saved or time.monotonic() > until:
                return state
            time.sleep(POLL_SECONDS)
            with contextlib.suppress(Exception):
                self._options.volume.reload()

    def _opened(self) -> SavedState | str:
        if self._directory is None:
            return "nothing was saved"
        try:
            found = SavedState.open_at(reader(self._directory, lambda: self._check))
        except (DamagedError, OSError) as error:
            return f"the saved state cannot be read: {error}"
        return found or "nothing was saved"

    def take(self, plan: Plan) -> None:
        """Restore by a plan from now on; `begin` or `need` load the first values."""
        self._restorer = self._unsaid = Restorer(plan, self._sync)
        self._has_begun = False
        self.saved_run = self.last_run = plan.state.run

    def begin(self) -> None:
        """Load what is needed before any cell."""
        if self._restorer is not None and not self._has_begun:
            self._has_begun = True
            self._restorer.begin()

    @property
    def state(self) -> SavedState | None:
        """The state that this container restores and has not yet begun to load."""
        return None if self._restorer is None or self._has_begun else self._restorer.plan.state

    def restore_for(self, request: Request) -> str:
        """Load what a cell may read; return the line about it, or nothing."""
        unsaid, self._unsaid = self._unsaid, None
        if (restorer := self._restorer) is not None:
            self.begin()
            restorer.need([name for _, name in request.holds])
            for name in (*request.drops, *request.values.names):
                self._sync.unloaded.discard(name)
            restorer.need({*request.reads, *request.maybe, *request.binds, *request.deletes, *request.mutates})
        return "" if unsaid is None else _line(unsaid)

    def restore(self, names: tuple[str, ...]) -> None:
        """Load the values of names, for a fetch."""
        if self._restorer is not None:
            self.begin()
            self._restorer.need(names)

    def give_up(self) -> None:
        """Forget the saved state: the notebook begins a new namespace."""
        self._restorer = self._unsaid = None
        self._sync.unloaded.clear()

    def _load_rest(self, check: Check) -> After:
        if self._restorer is not None and self._has_begun:  # files and packages come first, with the cell
            self._check = check
            try:
                self._restorer.rest(check)
            finally:
                self._check = never
            self._restorer = None
        return None

    # Saving.

    def _save(self, check: Check) -> After:
        """Save the state if a cell has run since the last save."""
        if self._saver is None or not self._options.limit or not self._is_dirty:
            return None
        moment = replace(self._moment(), run=self.last_run)
        try:
            manifest = self._saver.save(self._sync, moment, self._options.limit, check)
        except NotOwnerError:
            self._is_dirty = False
            return None
        except OSError as error:
            self._say_once("", f"The session was not saved: {error.strerror or error}.")
            return None
        except BaseException as error:  # noqa: BLE001 - a user's class may raise anything; the cell must not fail for it
            pass_on(error)
            self._say_once("", f"The session was not saved: {name_of(type(error))}: {words_of(error)}.")
            return None
        self._is_dirty = False
        self.saved_run = moment.run
        self._unsaved = manifest.unsaved
        users = {name: why for name, why in manifest.unsaved.items() if held_in(name) is None}
        new = {name: why for name, why in users.items() if self._said.get(name) != why}
        self._said.update(new)
        if new:
            words = "; ".join(f"`{name}`: {why}" for name, why in sorted(new.items()))
            self._news.append(f"Not saved, so lost if the container ends: {words}.")
        return self._options.volume.commit

    def _say_once(self, key: str, text: str) -> None:
        if self._said.get(key) != text:
            self._said[key] = text
            self._news.append(text)

    def save_at_end(self) -> None:
        """Save the state at the end of the container; the session's next container waits for it."""
        if self._directory is None or not self._options.limit or not self._is_dirty:
            return
        with last_save.announced(self._directory, self.last_run, self._options.volume.commit):
            self.save_now()

    def save_now(self) -> dict[str, str] | None:
        """Save the state at once; return what is not saved, with the reasons. None: nothing could be saved."""
        with self._idle.busy():
            after = None
            with contextlib.suppress(Interrupted):
                after = self._save(never)
        if after is not None:
            with contextlib.suppress(Exception):
                after()
        return None if self._is_dirty or not self.saved_run else self._unsaved


def _line(restorer: Restorer) -> str:
    """Return the line about what was restored."""
    sync = restorer.sync
    waiting = [name for name in restorer.plan.state.names if name in sync.unloaded.waiting]
    names = [name for name in restorer.plan.state.names if name in sync.namespace]
    what = f"{_listed(names)} ({size_text(restorer.nbytes)}) in {restorer.seconds:.1f} s" if names else "no variable"
    rest = f"; {_listed(waiting)} will be when a cell reads them, or between cells" if waiting else ""
    return f"The container was replaced; restored {what}{rest}."


def _listed(names: list[str]) -> str:
    """Return names for a sentence: those that begin with an underscore, as IPython's do, come last."""
    names = sorted(names, key=lambda name: name.startswith("_"))
    more = f" and {len(names) - NAMED} more" if names[NAMED:] else ""
    return ", ".join(f"`{name}`" for name in names[:NAMED]) + more
