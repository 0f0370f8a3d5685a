"""What a forked child displays comes over a socket to the session's process, which puts it among the cell's events.

A child has no threads of its own for that, so it opens a link for each display, and waits until the display is taken:
what it prints next, into the pipe that it shares with its parent, comes behind.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.container.process.output_owner import daemon

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection, Listener

    Take = Callable[[Any, dict[str, Any]], None]

SHORT: Final = "/tmp"  # noqa: S108 - a socket's path has room for a hundred characters; the folder in it is ours alone
LINKS: Final = 64
"""Children that may wait for their turn."""
KINDS: Final = frozenset(
    {"display_data", "update_display_data", "execute_result", "error", "clear_output"}
    | {"comm_open", "comm_msg", "comm_close"}
)
"""What a child may put out so."""


class Forked:
    """The parent's end and each child's. `take(kind, content)` gets what children display, in the parent's threads."""

    def __init__(self, take: Take) -> None:
        self._take, self._address = take, ""
        os.register_at_fork(before=self._listen)

    def send(self, kind: str, content: dict[str, Any]) -> None:
        """In a child: hand a display over. Nothing happens if nobody takes it: the parent is gone."""
        from multiprocessing.connection import Client

        if kind in KINDS:
            with contextlib.suppress(OSError, EOFError), Client(self._address, "AF_UNIX") as link:
                link.send((kind, content))
                link.recv()

    def _listen(self) -> None:
        """Before the first fork: a session that never forks needs no socket."""
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
        with contextlib.suppress(OSError, EOFError), link:
            kind, content = link.recv()
            self._take(kind, content)
            link.send(None)


def _remove(directory: Path, owner: int) -> None:
    if os.getpid() == owner:  # a child that ends as a script does comes here, too
        shutil.rmtree(directory, ignore_errors=True)
