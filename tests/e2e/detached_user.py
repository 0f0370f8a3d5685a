"""One user of detached sessions: kernels that come and go, and the control plane that stays."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil
from jupyter_core.utils import ensure_event_loop

from tests.e2e.kernel import Kernel, Result

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self

SOON: Final = 120.0
CACHE: Final = "modal-gpu-magic-cache"
SESSION: Final = "get_ipython().magics_manager.magics['cell']['modal_gpu'].__self__.state.sessions[{!r}]"


@dataclass(slots=True)
class User:
    """Directories that all kernels of a user share. Use it in a `with`: at the end nothing is left."""

    home: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="mgu-", dir="/tmp")))
    kernels: list[Kernel] = field(default_factory=list)
    """All kernels that were started, also those that have ended."""
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        for name in ("run", "data", "state"):
            (self.home / name).mkdir(mode=0o700)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        for server in self._servers():
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(server["pid"])
                process.send_signal(signal.SIGTERM)
                process.wait(SOON)
        shutil.rmtree(self.home, ignore_errors=True)

    def kernel(self, notebook: str = "", *, load: bool = True) -> Kernel:
        """Start a kernel with the extension. It ends with the user at the latest."""
        env = {f"XDG_{name}": f"{self.home}/{place}" for name, place in PLACES.items()}
        if notebook:
            env["JPY_SESSION_NAME"] = notebook
        kernel = self._stack.enter_context(Kernel(env=env))
        self.kernels.append(kernel)
        if load:
            kernel.load()
        return kernel

    def kill(self, kernel: Kernel) -> None:
        """End a kernel as a crash of its machine does: it stands still, then is gone."""
        os.kill(pid_of(kernel), signal.SIGSTOP)
        os.kill(pid_of(kernel), signal.SIGKILL)

    @property
    def servers(self) -> list[int]:
        """The processes of the user's lasting control planes."""
        return [server["pid"] for server in self._servers()]

    def _servers(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in self.home.glob("run/modal-gpu-magic/*/server.json")]

    def containers(self, session: str = "") -> list[dict[str, Any]]:
        """The control plane's rows of a session's containers, or of all: the seconds that Modal would bill."""
        meters = [Path(server["meter"]) for server in self._servers()]
        rows = [row for path in meters if path.exists() for row in json.loads(path.read_text())]
        return [row for row in rows if session in ("", row["app"].removeprefix("modal-gpu-"))]

    def ended(self, count: int, session: str = "") -> list[dict[str, Any]]:
        """The containers of a session, or all, once `count` of them have ended."""
        until = time.monotonic() + SOON
        while time.monotonic() < until:
            ended = [row for row in self.containers(session) if row["ended_at"]]
            if len(ended) >= count:
                return ended
            time.sleep(0.02)
        raise AssertionError(f"{self.containers(session)} run on")

    def records(self, session: str) -> list[dict[str, Any]]:
        """The records of a session in the ledger, whichever kernels wrote them."""
        ledger = self.home.glob("state/modal-gpu-magic/ledger/*.jsonl")
        records = [json.loads(line) for path in ledger for line in path.read_text().splitlines()]
        return list({each["id"]: each for each in records if each["session"] == session}.values())

    def booked(self, session: str) -> float:
        """The container-seconds of a session in the ledger, whichever kernels wrote them."""
        return float(sum(seconds for each in self.records(session) for seconds in each["phases"].values()))

    def volumes(self) -> list[str]:
        """The names of the sessions' Volumes on disk."""
        paths = self.home.glob("data/modal_gpu_magic/volumes/modal-gpu-*")
        return [path.name for path in paths if path.name != CACHE]


PLACES: Final = {"RUNTIME_DIR": "run", "DATA_HOME": "data", "STATE_HOME": "state"}


def pid_of(kernel: Kernel) -> int:
    """The process of a kernel, which need not answer."""
    pid: int = kernel._manager.provisioner.pid  # type: ignore[union-attr]  # a local kernel has one
    return pid


def meter(kernel: Kernel, session: str, what: str = "container_seconds") -> Any:
    """An attribute of a session's meter in a kernel."""
    return json.loads(kernel.print(f"__import__('json').dumps({SESSION.format(session)}.status.meter.{what})"))


def wait_for(kernel: Kernel, text: str) -> None:
    """Wait until a cell that was sent has shown a text, in any number of messages."""
    shown, until = "", time.monotonic() + SOON
    while text not in shown:
        assert time.monotonic() < until, f"{text!r} was not shown: {shown[-200:]!r}"
        shown += "".join(message.text for message in kernel.listen(0.05))


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for a condition, two minutes at most."""
    until = time.monotonic() + SOON
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)


def row_of(session: str, kernel: Kernel) -> str:
    """The row of a session in the list of all."""
    texts = [each["text/plain"] for each in kernel.run("%modal_gpu attach").bundles()]
    return next((line for text in texts for line in text.splitlines() if line.startswith(session)), "")


def detach(kernel: Kernel, session: str, *options: str) -> None:
    """Choose a detached session, once the kernel's last cell has ended: a cell that fails ends those sent after it."""
    while kernel.run("0").reply["status"] == "aborted":
        pass
    used = kernel.run(f"%modal_gpu use H100 --session {session} --detach {' '.join(options)}")
    assert used.ok, used.error


class Watched:
    """A cell that runs in a thread, and the file that appears once it has ended."""

    def __init__(self, kernel: Kernel, source: str, end: Path) -> None:
        self._results: list[Result] = []
        self._thread = threading.Thread(target=self._run, args=(kernel, source, end))
        self._thread.start()

    def _run(self, kernel: Kernel, source: str, end: Path) -> None:
        with contextlib.closing(ensure_event_loop()):  # jupyter_client's blocking calls make one a thread
            self._results.append(kernel.run(source, timeout=150))
        end.touch()

    @property
    def result(self) -> Result:
        """What became of the cell, once it has ended."""
        self._thread.join(160)
        (result,) = self._results
        return result
