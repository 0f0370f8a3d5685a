"""End the process if a cell has made it unusable: closed its descriptors, or ended a thread that it needs.

Such a process would never answer again. The exit status says why, and the kernel says so in one sentence.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from modal_gpu_magic.wire.values.kinds import name_of
from modal_gpu_magic.wire.values.own_code import words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

CLOSED_STATUS: Final = 191
"""Exit status: the cell closed descriptors of the container's own."""
BROKEN_STATUS: Final = 192
"""Exit status: a thread that the container needs has ended."""
UNABLE_STATUS: Final = 193
"""Exit status: after the cell, code of this package failed."""
WHY: Final = {
    CLOSED_STATUS: "the cell closed file descriptors that the container needs, as os.closerange does",
    BROKEN_STATUS: "the cell replaced built-ins or modules that the container's threads need",
    UNABLE_STATUS: "the cell's process cannot go on: it is out of memory, or the cell replaced what it needs",
}
"""Clauses by exit status, for the error in the notebook."""
PACKAGE: Final = "/modal_gpu_magic/"
"""A part of the paths of this package's files."""
LONGEST_WORDS: Final = 200
"""Characters of an error's message that are shown."""
SHORTEST_SECRET: Final = 8
"""Characters from which the value of an environment variable is no part of what is shown."""
LOOK_SECONDS: Final = 0.25
"""Seconds between two looks."""
LOOP_THREAD: Final = "(thread_inner)"
"""End of the name of the thread with the SDK's event loop: synchronicity's, tested with 0.11 and 0.12."""
MOST_DESCRIPTORS: Final = 256
"""Descriptors below this number are looked at: those that exist before the first cell."""

# The thread runs while built-ins may be replaced: it uses none by name.
_fstat, _sleep, _exit, _true = os.fstat, time.sleep, os._exit, True


class Guard:
    """Watches the descriptors that exist now, and threads. `start` begins to watch.

    Args:
        threads: the threads that the process needs.
        tell: shows a sentence in the notebook and writes a traceback to the container's log, just before the end.

    Attributes:
        user_code_began: whether user code of the run has begun.
    """

    def __init__(
        self, threads: Iterable[threading.Thread] = (), tell: Callable[[str, str], object] = lambda *_: None
    ) -> None:
        self.user_code_began = False
        self._threads, self._tell = tuple(threads), tell
        self._descriptors = tuple(_found())

    def start(self) -> None:
        """Watch from now on, in a thread."""
        from modal_gpu_magic.container.process.output_owner import daemon

        daemon("modal-gpu-guard", self._watch)

    def _watch(self) -> None:
        while _true:
            _sleep(LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """Look once; end the process if it is unusable."""
        try:
            status = self._damage()
        except:  # noqa: E722 - the look itself failed, for want of a built-in
            status = BROKEN_STATUS
        if status:
            _exit(status)

    @contextlib.contextmanager
    def ends_if_unable(self) -> Iterator[None]:
        """End the process if the code inside fails after user code began: the process may be in any state."""
        self.user_code_began = False
        try:
            yield
        except BaseException as error:  # any error of ours after user code means that the process cannot be trusted
            if not self.user_code_began:
                raise
            self.look()
            with contextlib.suppress(BaseException):
                self._tell(why_unable(error), without_secrets(traceback.format_exc()))
            os._exit(UNABLE_STATUS)

    def _damage(self) -> int:
        """Return the exit status for what is damaged; 0: nothing is.

        Descriptors first: a thread ends when its own are closed.
        """
        for number, device, inode in self._descriptors:
            try:
                facts = _fstat(number)
            except:  # noqa: E722 - `OSError` may be replaced
                return CLOSED_STATUS
            if facts.st_dev != device or facts.st_ino != inode:
                return CLOSED_STATUS
        for thread in self._threads:
            if not thread.is_alive():
                return BROKEN_STATUS
        return 0


def why_unable(error: BaseException) -> str:
    """Return the sentence about an error of this package's own after user code: what failed, and where."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if PACKAGE in frame.filename and frame.filename != __file__
    ]
    where = f" ({frames[-1].filename.rpartition(PACKAGE)[2]}, line {frames[-1].lineno})" if frames else ""
    words = (without_secrets(words_of(error)).strip().splitlines() or [""])[0]
    what = ": ".join(filter(None, (name_of(type(error)), words[:LONGEST_WORDS])))
    return f"The container ends: what follows a cell failed with {what}{where}."


def without_secrets(text: str) -> str:
    """Replace the values of environment variables in a text by stars: the secrets of a cell are among them."""
    environment: object = os.environ
    for value in map(str, environment.values()) if isinstance(environment, Mapping) else ():
        text = text.replace(value, "***") if len(value) >= SHORTEST_SECRET else text
    return text


def sdk_threads() -> list[threading.Thread]:
    """Return the threads of the SDK's event loop."""
    return [thread for thread in threading.enumerate() if thread.name.endswith(LOOP_THREAD)]


def _found() -> list[tuple[int, int, int]]:
    """Return the descriptors of event loops and pipes, which nobody closes during the process's life."""
    found = []
    for number in range(3, MOST_DESCRIPTORS):
        try:
            facts = os.fstat(number)
        except OSError:
            continue
        kind = stat.S_IFMT(facts.st_mode)
        if kind == 0 or stat.S_ISFIFO(kind):  # an event loop's descriptor has no kind
            found.append((number, facts.st_dev, facts.st_ino))
    return found
