"""A user who leaves and comes back: one detached session, kernels that come, go and stand still, containers that end.

One kernel, `home`, lives through all of it. Each act begins with a session whose container has all values of the model:
the look behind the act before was a cell there.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import psutil

from modal_gpu_magic.container.state.saved_session import IDLE_VARIABLE
from modal_gpu_magic.wire.saved.reading import SavedState
from tests.e2e.detached_user import User, pid_of
from tests.soak.cells import BEGIN, LOOK, SEEN, Cell, Model, Outcome, statements
from tests.soak.findings import Unclean, check_lines

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.e2e.kernel import Kernel, Result

SESSION: Final = "soak"
USE: Final = f"%modal_gpu use T4 --session {SESSION} --detach --keep-warm 60s --env {IDLE_VARIABLE}=0.3"
ATTACH: Final = f"%modal_gpu attach {SESSION}"
HOME: Final = (
    "for _name, _value in list(globals().items()):\n"
    "    if type(_value).__name__ == 'RemoteValue' and _name[:1] != '_' and globals()[_name] is _value:\n"
    "        globals()[_name] = _value.fetch()\n"
)
"""Brings home what is a remote value, so that a native cell can use it."""
FORGET: Final = "\nfor _name in ('made', 'fresh', 'word'): globals().pop(_name, None)"
FORGET_ALL: Final = "for _name in [name for name in globals() if name in {}]: del globals()[_name]".format(
    ("items", "pair", "table", "count", "box", "big", "keep", "made", "fresh", "word", "Box", "closed")
)
PROBED: Final = tuple(name for name in SEEN if name != "made")
"""Names that exist from the beginning."""
OLDER: Final = "what later cells changed is lost"
MOST_MOMENTS: Final = 64
"""Moments before the present one that are remembered. On a busy machine, some ten cells may come between two saves."""
NOT_SENT: Final = "the cell was not sent"
LOST_ERRORS: Final = ("NameError", "LostValueError")
SOON: Final = 60.0
LATEST_PRESS_SECONDS: Final = 0.15
MOST_STATEMENTS: Final = 6
Act = str


@dataclass(slots=True)
class Running:
    """A cell that was sent, and what it has shown so far."""

    kernel: Kernel
    source: str
    text: str = ""
    error: str = ""
    has_ended: bool = False
    _id: str = field(init=False)

    def __post_init__(self) -> None:
        self._id = self.kernel.send(self.source)

    def follow(self, seconds: float) -> None:
        """Take in what the cell shows, for so long or until it ends."""
        until = time.monotonic() + seconds
        while not self.has_ended and time.monotonic() < until:
            for message in self.kernel.listen(min(0.05, max(0.0, until - time.monotonic()))):
                if message.parent != self._id:
                    continue
                if message.kind == "stream" and message.content["name"] == "stdout" and not message.ours:
                    self.text += message.content["text"]
                elif message.kind == "clear_output":  # the dashboard opens above the output, which is shown again
                    self.text = ""
                elif message.kind == "error":
                    self.error = f"{message.content['ename']}: {message.content['evalue']}"
                elif message.kind == "status" and message.content["execution_state"] == "idle":
                    self.has_ended = True


@dataclass(slots=True)
class Leaving:
    """One detached session, the kernels of its user, and the model.

    Attributes:
        home: the kernel that lives through all.
        here: the kernel that has the session.
        history: the namespaces of the model before the present one.
        last: what the last run has printed, which a kernel that attaches shows.
        earlier: what the run before has printed.
        before: what some runs before that one have printed.
        acts: the acts so far, for a reproducer.
        stopped: how many runs were stopped.
    """

    user: User
    choose: random.Random
    model: Model = field(default_factory=Model)
    acts: list[Act] = field(default_factory=list)
    stopped: int = 0
    last: str = ""
    earlier: str = ""
    before: deque[str] = field(default_factory=lambda: deque(maxlen=MOST_MOMENTS))
    history: list[bytes] = field(default_factory=list)
    home: Kernel = field(init=False)
    here: Kernel = field(init=False)
    _guest: Kernel | None = None
    _number: int = 0

    def begin(self) -> None:
        """Start the kernel that stays, and the session."""
        self.home = self.here = self.user.kernel()
        self._open()

    def step(self) -> None:
        """Do one random act and compare.

        Raises:
            Unclean: what was seen is not what the model says.
        """
        acts: dict[Callable[[], list[Outcome]], int] = {
            self._cell: 30,
            self._come_back: 10,
            self._leave_in_mid_run: 25,
            self._pause: 6,
            self._background: 15,
            self._container_ends: 12,
            self._stop: 2,
        }
        (act,) = self.choose.choices(list(acts), list(acts.values()))
        self._look(act())

    def go_home(self) -> None:
        """Bring the session to the kernel that lives through all."""
        self.here = self.home
        self._expect(self.here.run(ATTACH, timeout=120))

    def print_lines(self, cells: int) -> None:
        """Run cells that print one line each, in the container."""
        for number in range(cells):
            self._expect(self._remote(f"print({number})"))

    # The acts. Each returns the outcomes that are legal afterwards.

    def _cell(self) -> list[Outcome]:
        """A cell, native or remote, perhaps stopped."""
        remote = self.choose.random() < 0.7
        cell = self._new_cell(remote=remote, may_stop=remote)
        if not remote:
            self._note(cell)
            done = self.here.run(HOME + cell.source, timeout=120)
            return self._outcomes(done, cell)
        self._note(cell)
        return self._ran(self._remote(cell.source, _press(cell)), cell)

    def _come_back(self) -> list[Outcome]:
        """Another kernel attaches while nothing runs; the one before lives on, or does not."""
        self._leave(self.choose.choice(["lives", "dies"]))
        self._attach()
        return self._unchanged()

    def _leave_in_mid_run(self) -> list[Outcome]:
        """The kernel dies, stands still or is left alone around or in a run; another one attaches, and may stop it."""
        pause = self.choose.choice([0.0, 0.02, 0.2])
        cell = self._new_cell(remote=True, may_stop=self.choose.random() < 0.3, pause=pause)
        seconds = 0.3 + pause * len(cell.lines)
        first, background = self.here, self.choose.random() < 0.2
        self._note(cell, "left in mid-run" + (", in the background" if background else ""))
        running = Running(first, f"%%modal_gpu{' --bg work' if background else ''}\n{cell.source}")
        running.follow(self.choose.uniform(0, seconds))
        how = self._leave(self.choose.choice(["lives", "stands still", "dies"]), first)
        time.sleep(self.choose.choice([0.0, self.choose.uniform(0, seconds), seconds]))
        attached = self._attach_to(cell)
        if how == "stands still":
            os.kill(pid_of(first), signal.SIGCONT)
        if how != "dies":
            running.follow(SOON)
            self._check_left(running, cell, is_background=background)
        return attached

    def _pause(self) -> list[Outcome]:
        """The kernel stands still in a run, and goes on."""
        cell = self._new_cell(remote=True, pause=self.choose.choice([0.02, 0.2]))
        self._note(cell, "the kernel stands still")
        running = Running(self.here, f"%%modal_gpu\n{cell.source}")
        running.follow(self.choose.uniform(0, 1))
        os.kill(pid_of(self.here), signal.SIGSTOP)
        time.sleep(self.choose.uniform(0.2, 3))
        os.kill(pid_of(self.here), signal.SIGCONT)
        running.follow(SOON)
        if running.error or not running.has_ended:
            raise Unclean(f"the cell has not ended as it should: {running.error or running.text!r}", wrong=1)
        (*_, done) = self.model.legal(cell)
        check_lines(running.text, done[0], "a cell whose kernel stood still")
        self._shown(done[0])
        return [done]

    def _background(self) -> list[Outcome]:
        """A background cell beside native ones: its result is asked for, or it is cancelled."""
        cell = self._new_cell(remote=True, pause=self.choose.choice([0.0, 0.02, 0.1]))
        cancelled = self.choose.random() < 0.3
        self._note(cell, "in the background" + (", cancelled" if cancelled else ""))
        self._expect(self.here.run(f"%%modal_gpu --bg work\n{cell.source}", timeout=120))
        if self.choose.random() < 0.5:
            check_lines(self._expect(self.here.run("print('beside')")).stdout, "beside\n", "a native cell beside")
        if cancelled:
            time.sleep(self.choose.uniform(0, LATEST_PRESS_SECONDS))
            self._expect(self.here.run("work.cancel()"))
        result = self.here.run("work.result()", timeout=120)
        logs = self._expect(self.here.run("print(work.logs(), end='')")).stdout
        legal = list(self.model.legal(cell))
        if result.ok:
            check_lines(logs, legal[-1][0], "a background cell")
            self._shown(legal[-1][0])
            return legal[-1:]
        if not cancelled or not result.error.startswith(("KeyboardInterrupt", "CancelledError")):
            raise Unclean(f"the background cell failed: {result.error}\n{result.traceback}", wrong=1)
        self.stopped += 1
        return self._prefixes(legal, logs)

    def _container_ends(self) -> list[Outcome]:
        """The container is killed, or has been idle for too long; the next one restores what was saved."""
        how = self.choose.choice(["killed", "killed once its state was saved", "idle for too long"])
        self._note(None, f"the container is {how}")
        count = len(self.user.ended(0, SESSION))
        idle = " --keep-warm 2s" if how == "idle for too long" else ""
        shown = self._remote("import os, time\nprint(os.getpid(), time.time())", header=idle).stdout
        pid, began = (kind(text) for kind, text in zip((int, float), shown.split(), strict=True))
        if how == "killed once its state was saved":
            self._wait(lambda: (state := self._state()) is not None and state.saved_at >= began, "the state is saved")
        if how != "idle for too long":
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                process.kill()
                process.wait(SOON)
        self.user.ended(count + 1, SESSION)
        said, has_moved = "", self.choose.random() < 0.5
        if has_moved:
            self._leave(self.choose.choice(["lives", "dies"]), is_lost=how == "killed")
            said = self._attach(is_killed=how == "killed")
        if how == "killed":
            self._check_lost(said, has_moved=has_moved)
        elif idle:
            self._expect(self._remote("count", header=" --keep-warm 60s"))
        return self._unchanged()

    def _stop(self) -> list[Outcome]:
        """The session is ended, from its kernel or another one; a new one begins."""
        self._note(None, "%modal_gpu stop")
        if self.choose.random() < 0.5:
            self._leave("lives")
        done = self._expect(self.here.run(f"%modal_gpu stop {SESSION}", timeout=120))
        if f"{SESSION}: stopped" not in done.stdout or self.user.volumes():
            raise Unclean(f"the session was not ended: {done.stdout!r}, {self.user.volumes()}", wrong=1)
        self._wait(lambda: len(self.user.ended(0, SESSION)) == len(self.user.containers(SESSION)), "containers end")
        self._open()
        return self._unchanged()

    # Their parts.

    def _open(self) -> None:
        """Begin a session, with the first values."""
        self._expect(self.here.run(USE))
        self._reset()
        self.history = []

    def _reset(self) -> None:
        """Bind the first values, whatever was there. The session's saved state may still be of a moment before."""
        self._expect(self.here.run(FORGET))
        self._expect(self._remote(BEGIN + FORGET))
        self.history = [*self.history, self.model.kept][-MOST_MOMENTS:]
        self.model = Model()

    def _remote(self, source: str, press: Sequence[float] = (), header: str = "") -> Result:
        """Run a cell in the container; what it prints is what the next kernel that attaches shows."""
        limits: dict[str, Any] = {"timeout": 20, "may_lose_reply": True} if press else {"timeout": 120}
        done = self.here.run(f"%%modal_gpu{header}\n{source}", press=press, **limits)
        if "did not run" not in done.error:
            self._shown(done.stdout)
        return done

    def _ran(self, done: Result, cell: Cell) -> list[Outcome]:
        legal = self._outcomes(done, cell)
        return legal[:1] if "did not run" in done.error else legal

    def _outcomes(self, done: Result, cell: Cell) -> list[Outcome]:
        legal = list(self.model.legal(cell))
        if done.ok:
            check_lines(done.stdout, legal[-1][0], "the cell")
            return legal[-1:]
        if cell.press is None:
            raise Unclean(f"failed: {done.error}\n{done.traceback}", wrong=1)
        self.stopped += 1
        return self._prefixes(legal, done.stdout)

    @staticmethod
    def _prefixes(legal: list[Outcome], printed: str) -> list[Outcome]:
        """Return the outcomes of a stopped cell; check that it has printed each line once, up to one."""
        if not legal[-1][0].startswith(printed):
            check_lines(printed, legal[-1][0][: len(printed)], "a stopped cell")
        return legal

    def _leave(self, how: str, first: Kernel | None = None, *, is_lost: bool = False) -> str:
        """Go to another kernel; the one before lives, stands still or dies. Home does not die."""
        first = first or self.here
        if how == "dies" and first is self.home:
            how = "stands still" if "".join(self.acts[-1:]).startswith("# left in mid-run") else "lives"
        self.acts.append(f"# the kernel {how}; another one comes")
        if how == "stands still":
            os.kill(pid_of(first), signal.SIGSTOP)
        if how == "dies":
            self.user.kill(first)
            self._guest = None if first is self._guest else self._guest
        self.here = self._other(first)
        # What a notebook has bound before, and the session has not, stays bound.
        self._expect(self.here.run(FORGET_ALL if is_lost or self.choose.random() < 0.5 else FORGET))
        return how

    def _other(self, first: Kernel) -> Kernel:
        """Return a kernel that is not the one that is left."""
        if first is not self.home and self.choose.random() < 0.7:
            return self.home
        if self._guest is None or self._guest is first:
            self._guest = self.user.kernel()
        return self._guest

    def _shown(self, text: str) -> None:
        """Note what the last run has shown."""
        self.before.append(self.earlier)
        self.earlier, self.last = self.last, text

    def _without_earlier(self, text: str, last: str) -> str:
        """Leave out runs before the last: an end is announced with the next run, or 0.1 s after that.

        Of these runs, one that was followed at once has no log, so that a run before it may come without it.
        """
        if not text.endswith(last):
            return text
        rest = text.removesuffix(last)
        for earlier in (*self.before, self.earlier, self.last):
            rest = rest.removeprefix(earlier)
        return text if rest else last

    def _attach(self, *, is_killed: bool = False) -> str:
        """Attach, and check that the last run is shown as it was. Return what is said.

        The log of a run whose container was killed within 0.1 s of its end is lost, and the one of a run that its
        kernel had followed by another at once was never written: then a run before is shown. Its kernel has shown it.
        """
        attached = self._expect(self.here.run(ATTACH, timeout=120))
        if is_killed and attached.stdout in ("", self.earlier, *self.before):
            return attached.said
        check_lines(self._without_earlier(attached.stdout, self.last), self.last, "attach")
        return attached.said

    def _attach_to(self, cell: Cell) -> list[Outcome]:
        """Attach to a run that another kernel has sent, or was about to send; perhaps stop it, and attach again."""
        legal, shown = list(self.model.legal(cell)), ""
        press = _press(cell)
        attached = self.here.run(ATTACH, timeout=30 if press else 120, press=press, may_lose_reply=bool(press))
        if cell.press is not None and attached.error.startswith("KeyboardInterrupt"):
            self.stopped += 1
            shown = attached.stdout  # the press may have come before the session was this kernel's
            attached = self.here.run(ATTACH, timeout=120)
        both = (self.last, legal[-1][0], self.earlier + self.last, self.last + legal[-1][0])
        if not any(text.startswith(shown) for text in both):
            check_lines(shown, legal[-1][0][: len(shown)], "an attach that was stopped")
        if NOT_SENT in attached.error:
            return legal[:1]
        if attached.ok and self._without_earlier(attached.stdout, self.last) == self.last:  # killed before it was sent
            return legal[:1]
        if attached.ok:
            check_lines(self._without_earlier(attached.stdout, legal[-1][0]), legal[-1][0], "attach")
            self._shown(legal[-1][0])
            return legal[-1:]
        if cell.press is None or not attached.error.startswith("KeyboardInterrupt"):
            raise Unclean(f"attach failed: {attached.error}\n{attached.traceback}\n{attached.said}", wrong=1)
        self._shown(attached.stdout)
        return self._prefixes(legal, attached.stdout)

    def _check_left(self, running: Running, cell: Cell, *, is_background: bool) -> None:
        """Check what a kernel has shown whose session was taken: a beginning of the output, and a true sentence."""
        (*_, (whole, _, _)) = self.model.legal(cell)
        if not running.has_ended:
            raise Unclean(f"the kernel that was left has not ended its cell: {running.text!r}", wrong=1)
        if not whole.startswith(running.text):
            check_lines(running.text, whole[: len(running.text)], "the kernel that was left")
        if running.error and not running.error.startswith(("TakenOver", "KeyboardInterrupt")):
            raise Unclean(f"the kernel that was left says: {running.error}", wrong=1)
        if not running.error and not is_background:
            check_lines(running.text, whole, "the kernel that was left")

    def _check_lost(self, said: str, *, has_moved: bool) -> None:
        """Check each name after a container ended at once: its last value, or an error that says that it is lost.

        A kernel that has attached meanwhile (`has_moved`) was told how old the values are. If the container and the
        kernel before ended within 0.1 s of runs, nobody knows of these: then the values are of a moment before.
        """
        seen: dict[str, str] = {}
        lost: set[str] = set()
        is_older = OLDER in said or has_moved
        for name in PROBED:
            done = self._remote(f"print(repr(({SEEN[name]},)))")
            said += done.said
            if done.ok:
                seen[name] = done.stdout.strip()
            elif done.error.partition(":")[0] in LOST_ERRORS:
                lost.add(name)
            else:
                raise Unclean(f"{name}: {done.error}\n{done.traceback}", wrong=1)
        for names in re.findall(r"Lost with (?:it|the container): ([\w, ]+)", said):
            wrong = [name for name in names.split(", ") if name in seen]
            if wrong:
                raise Unclean(f"said to be lost, and is not: {', '.join(wrong)}", wrong=len(wrong))
        moments = [self.model, *(Model(kept) for kept in self.history[::-1])] if is_older else [self.model]
        if not any(all(text in moment.saw(name) for name, text in seen.items()) for moment in moments):
            expected = {name: self.model.saw(name) for name in seen}
            raise Unclean(f"after the container was killed: {seen} instead of {expected}; {said}", wrong=1)
        self._reset()

    def _look(self, legal: list[Outcome]) -> None:
        """Compare the values with the outcomes that are legal, here or not, and there; remember the one that was."""
        if self.choose.random() < 0.4:
            legal = self._fits(self.here.run(f"{HOME}print(repr(({LOOK})))", timeout=120), legal)
        self._fits(self._remote(f"print(repr(({LOOK})))"), legal)

    def _fits(self, look: Result, legal: list[Outcome]) -> list[Outcome]:
        if not look.ok:
            raise Unclean(f"the values cannot be read: {look.error}\n{look.traceback}\n{look.said}", wrong=1)
        seen = look.stdout.strip()
        fitting = [namespace for _, values, namespace in legal if values == seen]
        if not fitting:
            raise Unclean("\n".join(("seen:", seen, "legal:", *(values for _, values, _ in legal))), wrong=1)
        self.history.append(self.model.kept)
        self.history = self.history[-MOST_MOMENTS:]
        self.model.kept = fitting[0]
        return self._unchanged()

    def _unchanged(self) -> list[Outcome]:
        return [self.model.after()]

    def _state(self) -> SavedState | None:
        """Read the saved state of the session."""
        volumes = self.user.home / "data/modal_gpu_magic/volumes"
        for manifest in volumes.glob(f"**/{SESSION}/state/manifest"):
            with contextlib.suppress(OSError):
                return SavedState.open(partial(_content, manifest.parents[2]), SESSION)
        return None

    def _new_cell(self, *, remote: bool, may_stop: bool = False, pause: float = 0.0) -> Cell:
        self._number += 1
        is_stopped = may_stop and (pause or self.choose.random() < 0.25)
        press = self.choose.uniform(0, LATEST_PRESS_SECONDS + 2 * pause) if is_stopped else None
        return Cell(statements(self.choose, MOST_STATEMENTS), remote, press, self._number, pause)

    def _note(self, cell: Cell | None, words: str = "") -> None:
        self.acts.append("\n".join(filter(None, (words and f"# {words}", str(cell or "")))))

    @staticmethod
    def _expect(done: Result) -> Result:
        if not done.ok:
            raise Unclean(f"{done.error}\n{done.traceback}\n{done.said}", wrong=1)
        return done

    @staticmethod
    def _wait(holds: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + SOON
        while not holds():
            if time.monotonic() > until:
                raise Unclean(f"not within {SOON:.0f} s: {what}", wrong=1)
            time.sleep(0.02)


def _content(top: Path, path: str) -> bytes:
    return (top / path).read_bytes()


def _press(cell: Cell) -> tuple[float, ...]:
    return () if cell.press is None else (cell.press,)
