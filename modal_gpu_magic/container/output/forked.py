"""Send the displays of a forked child to the session's process, over a socket.

A child has no sender thread, so it opens one connection per display and waits until the parent has taken the display:
text that the child prints afterwards, into the pipe shared with its parent, then follows the display.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.container.process.output_owner import daemon

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection, Listener

    Take = Callable[[Any, dict[str, Any]], None]

SHORT: Final = "/tmp"  # noqa: S108 - a socket's path is limited to 100 characters; `mkdtemp` makes a private folder
LINKS: Final = 64
"""Most children that may wait for a connection."""
KINDS: Final = frozenset(
    {"display_data", "update_display_data", "execute_result", "error", "clear_output"}
    | {"comm_open", "comm_msg", "comm_close"}
)
"""The kinds of events that a child may send over the socket."""


class Forked:
    """Both ends of the socket. The parent's threads call `take(kind, content)` for each display of a child."""

    def __init__(self, take: Take) -> None:
        self._take, self._address = take, ""
        os.register_at_fork(before=self._listen)

    def send(self, kind: str, content: dict[str, Any]) -> None:
        """Send a display from a child. Without effect if the parent has ended."""
        from multiprocessing.connection import Client

        if kind in KINDS:
            with suppress(OSError, EOFError), Client(self._address, "AF_UNIX") as link:
                link.send((kind, content))
                link.recv()

    def _listen(self) -> None:
        """Open the socket before the first fork: a session that never forks needs none."""
        if self._address:
            return
        from multiprocessing.connection import Listener

        directory = Path(tempfile.mkdtemp(prefix="mgf-", dir=SHORT if Path(SHORT).is_dir() else None))
        atexit.register(_remove, directory, os.getpid())
        self._address = str(directory / "displays")
        daemon("modal-gpu-children", partial(self._accept, Listener(self._address, "AF_UNIX", backlog=LINKS)))

    def _accept(self, listener: Listener) -> None:
        while True:
            link = listener.accept()
            daemon("modal-gpu-child", partial(self._read, link))

    def _read(self, link: Connection[Any, Any]) -> None:
        with suppress(OSError, EOFError), link:
            kind, content = link.recv()
            self._take(kind, content)
            link.send(None)


def _remove(directory: Path, owner: int) -> None:
    if os.getpid() == owner:  # a child that exits normally also runs this function
        shutil.rmtree(directory, ignore_errors=True)
