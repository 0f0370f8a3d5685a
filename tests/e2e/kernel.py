"""A real ipykernel, driven as a notebook drives it. What a cell showed comes back as messages, in order.

Nothing here knows the product but `remote`, which puts its header above a cell, and `Message.ours`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
from jupyter_core.utils import ensure_event_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    from jupyter_client.blocking.client import BlockingKernelClient
    from typing_extensions import Self

    Part = float | str | Callable[[], bool]
    Mark = Part | tuple[Part, ...]
    """When to press ■, as `Kernel.run` says."""

OURS: Final = "modal_gpu"
"""The metadata key on every output of the magic's own (status, receipt, notes), as opposed to the cell's."""

MARK: Final = "TMPDIR"
"""A variable of the environment that every process of a kernel has, those of its containers too: each kernel has a
folder of its own there. So what a kernel leaves behind is found."""


SHOWN: Final = ("display_data", "execute_result", "update_display_data")
"""Messages that carry a mime bundle."""

NO_REPLY: Final[dict[str, Any]] = {
    "content": {"status": "error", "ename": "KeyboardInterrupt", "evalue": "the kernel has sent no reply"},
    "parent_header": {"msg_id": ""},
}
"""Stands for the reply that ipykernel did not send."""


def _reply_as_shown(shown: Sequence[Message]) -> dict[str, Any]:
    """Return what stands for a reply that was merged with a part of the reply before."""
    failed = next((message.content for message in shown if message.kind == "error"), None)
    content = {"status": "ok"} if failed is None else {"status": "error", **failed}
    return {"content": content, "parent_header": {"msg_id": ""}}


FOREIGN: Final = ("IPYTHON", "JUPYTER_", "MODAL_", "PYTEST_")
"""Variables that must not reach a kernel: the user's settings, and the test's (ipykernel does not capture file
descriptors where it sees pytest's)."""


@dataclass(frozen=True, slots=True)
class Message:
    """One iopub message of a cell, `at` seconds after the cell was sent."""

    kind: str
    content: dict[str, Any]
    at: float
    parent: str = ""

    @property
    def ours(self) -> bool:
        """Whether the magic shows it, not the cell."""
        return OURS in self.content.get("metadata", {})

    @property
    def text(self) -> str:
        """What a plain terminal would show of it."""
        return str(self.content.get("text") or self.content.get("data", {}).get("text/plain", ""))


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one cell: `messages` are the cell's own, `notes` the magic's."""

    messages: tuple[Message, ...]
    notes: tuple[Message, ...]
    reply: dict[str, Any]
    seconds: float
    asked: tuple[str, ...] = ()
    """Prompts of `input()`."""
    id: str = ""
    all: tuple[Message, ...] = ()
    """The cell's messages and the magic's, in order."""

    @property
    def ok(self) -> bool:
        """Whether Run All would go on."""
        return bool(self.reply["status"] == "ok")

    @property
    def stdout(self) -> str:
        """Everything the cell wrote to its standard output."""
        return self._written("stdout")

    @property
    def stderr(self) -> str:
        """Everything the cell wrote to its standard error."""
        return self._written("stderr")

    def _written(self, name: str) -> str:
        """Return a stream once: the dashboard of a long run opens above the output, which is shown again below."""
        written = list[str]()
        shown = [message for message in self.all or self.messages if not message.kind.startswith("comm_")]
        for message, after in itertools.zip_longest(shown, shown[1:]):
            if message.kind == "clear_output" and after is not None and after.ours:
                written.clear()
            elif not message.ours and message.kind == "stream" and message.content["name"] == name:
                written.append(message.text)
        return "".join(written)

    @property
    def error(self) -> str:
        """`ZeroDivisionError: division by zero`, or nothing."""
        return "" if self.ok else f"{self.reply['ename']}: {self.reply['evalue']}"

    @property
    def traceback(self) -> str:
        """The traceback as the notebook shows it, less its colours."""
        lines = "\n".join(line for m in self.messages if m.kind == "error" for line in m.content["traceback"])
        return re.sub(r"\x1b\[[\d;]*m", "", lines)

    @property
    def said(self) -> str:
        """Everything the magic itself said: status, notes, the receipt."""
        return "\n".join(note.text for note in self.notes)

    def bundles(self, *kinds: str) -> list[dict[str, Any]]:
        """The mime bundles of the cell's messages of these kinds, of all that show one if none is named."""
        return [m.content["data"] for m in self.messages if m.kind in (kinds or SHOWN)]

    def value(self) -> str:
        """The text of the last expression."""
        assert self.ok, self.error
        (bundle,) = self.bundles("execute_result")
        return str(bundle["text/plain"])


def clean_environ(home: Path) -> dict[str, str]:
    """An environment with a home of its own at `home`, and none of the user's settings or tokens.

    Makes the directories it names; `work` is there to start in.
    """
    for name in ("run", "tmp", "work"):
        (home / name).mkdir(mode=0o700, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return {
        **kept,
        "HOME": f"{home}",
        "IPYTHONDIR": f"{home}/ipython",
        "MODAL_GPU_BACKEND": "local",
        "OMP_NUM_THREADS": "1",  # several kernels share few cores, and OpenMP's threads wait by spinning
        "TMPDIR": f"{home}/tmp",
        "XDG_CACHE_HOME": f"{home}/cache",
        "XDG_CONFIG_HOME": f"{home}/config",
        "XDG_DATA_HOME": f"{home}/data",
        "XDG_RUNTIME_DIR": f"{home}/run",
        "XDG_STATE_HOME": f"{home}/.local/state",
    }


@dataclass(slots=True)
class Kernel:
    """One kernel with a home, temporary files and caches of its own, and no Modal account. Use it in a `with`."""

    env: dict[str, str] = field(default_factory=dict)
    """Over the environment of the tests, less all of Modal's variables."""
    home: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="mgk-", dir="/tmp")))
    mark: str = ""
    cells: int = 0
    """The cells that were run."""
    _may_be_torn: bool = False
    """Whether a part of a reply may have been sent."""
    _manager: KernelManager = field(init=False)
    _client: BlockingKernelClient = field(init=False)

    def __enter__(self) -> Self:
        specs = KernelSpecManager(kernel_dirs=[str(Path(sys.prefix, "share", "jupyter", "kernels"))])
        self.mark = self.home.name
        self._manager = KernelManager(  # sockets of files: of two kernels that start at once, both may pick one port
            kernel_name="python3",
            kernel_spec_manager=specs,
            transport="ipc",
            connection_file=str(self.home / "kernel.json"),
        )
        environ = {**clean_environ(self.home), **self.env}
        self._manager.start_kernel(env=environ, cwd=str(self.home / "work"))
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=not self._manager.is_alive())
        self._manager.cleanup_resources()
        shutil.rmtree(self.home, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The kernel's process."""
        return int(self.run("import os\nos.getpid()").value())

    def run(
        self,
        source: str,
        *,
        timeout: float = 100,
        press: Sequence[Mark] = (),
        answers: Sequence[str] | None = None,
        when: Mapping[str, Callable[[], object]] | None = None,
        may_lose_reply: bool = False,
    ) -> Result:
        """Run one cell and wait for its end.

        `press` is when to press ■, once for each mark: a text waits until it was shown or asked, a condition until it
        holds, a number so many seconds more; a tuple waits for each of its parts, in order.
        `when`: functions that are called once a text was shown.
        `answers` are typed at the prompts of `input()`, in order; after the last one the person there says nothing more.
        None: nobody is there.
        `may_lose_reply`: ■ may come at any moment. One that comes when the cell has ended and ipykernel has not sent the
        reply ends ipykernel's own code, and no reply is sent: in a kernel without the extension, too (24 of 300 at random).
        A part of one may be sent (2 of 1,310), which the next reply follows: that cell's reply is what the cell has shown.
        So may a part of an output be: that cell has no reply either.
        """
        self.cells += 1
        shown: list[Message] = []
        asked: list[str] = []
        texts: list[str] = []
        awaited = dict(when or {})
        typed = iter(answers or ())
        start = time.monotonic()

        def show(message: dict[str, Any]) -> None:
            if message["msg_type"] not in ("status", "execute_input"):
                shown.append(Message(message["msg_type"], message["content"], time.monotonic() - start))
                texts.append(shown[-1].text)
                for text in [each for each in awaited if each in "".join(texts)]:
                    awaited.pop(text)()

        def ask(message: dict[str, Any]) -> None:
            asked.append(message["content"]["prompt"])
            texts.append(asked[-1])
            if (answer := next(typed, None)) is not None:
                self._client.input(answer)

        with self._presses(press, texts):
            try:
                reply = self._client.execute_interactive(
                    source,
                    timeout=timeout,
                    output_hook=show,
                    stdin_hook=ask,
                    allow_stdin=answers is not None,
                )
            except TimeoutError:
                if not may_lose_reply:
                    raise
                reply, self._may_be_torn = NO_REPLY, True
            except ValueError as error:
                reply = self._past_torn_message(error, shown, may_lose_reply=may_lose_reply)
        return Result(
            messages=tuple(m for m in shown if not m.ours),
            notes=tuple(m for m in shown if m.ours),
            reply=reply["content"],
            seconds=time.monotonic() - start,
            asked=tuple(asked),
            id=reply["parent_header"]["msg_id"],
            all=tuple(shown),
        )

    def _past_torn_message(
        self, error: ValueError, shown: Sequence[Message], *, may_lose_reply: bool
    ) -> dict[str, Any]:
        """Return what stands for the reply when a part of a message has arrived; any other error is raised."""
        if may_lose_reply and "<IDS|MSG>" in str(error):  # of an output
            self._may_be_torn = True
            return NO_REPLY
        if not self._may_be_torn or "Invalid Signature" not in str(error):
            raise error
        self._may_be_torn = False
        return _reply_as_shown(shown)

    def load(self) -> None:
        """Load the extension."""
        loaded = self.run("%load_ext modal_gpu_magic")
        assert loaded.ok, loaded.traceback

    def renew(self) -> None:
        """Take all names and sessions away, as before the first remote cell: a new kernel costs more."""
        for source in ("%unload_ext modal_gpu_magic", "%reset -f", "%load_ext modal_gpu_magic"):
            done = self.run(source)
            assert done.ok, done.traceback

    def shutdown(self) -> None:
        """As the notebook's Shut Down does."""
        self._manager.shutdown_kernel()

    def restart(self) -> None:
        """As the notebook's Restart does."""
        self._manager.restart_kernel()
        self._client.wait_for_ready(timeout=60)

    def remote(self, source: str, header: str = "H100", **how: Any) -> Result:
        """Run one cell under the magic."""
        return self.run(f"%%modal_gpu {header}\n{source}", **how)

    def print(self, expression: str) -> str:
        """What `print(expression)` shows here, in the notebook's process."""
        result = self.run(f"print({expression})")
        assert result.ok, result.error
        return result.stdout.rstrip("\n")

    def listen(self, seconds: float) -> list[Message]:
        """What arrives between cells, each with the id of the cell it belongs to."""
        arrived = []
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self._client.iopub_channel.socket.poll(left * 1000):
                message = self._client.get_iopub_msg(timeout=0)
                parent = message["parent_header"].get("msg_id", "")
                arrived.append(Message(message["msg_type"], message["content"], 0.0, parent))
        return arrived

    def send(self, source: str) -> str:
        """Start a cell and do not wait for it; return the id that its messages carry."""
        self.cells += 1
        return str(self._client.execute(source))

    def complete(self, text: str) -> dict[str, Any]:
        """The kernel's answer to a page that asks what may stand at the end of a text."""
        reply: dict[str, Any] = self._client.complete(text, len(text), reply=True, timeout=60)
        content: dict[str, Any] = reply["content"]
        return content

    def beside(
        self,
        source: str,
        *requests: tuple[str, dict[str, Any]],
        during: Sequence[str] = (),
        then: Callable[[], object] = lambda: None,
    ) -> tuple[list[str], list[str]]:
        """Start a cell, and make these requests once it prints. `then` is called once all of `during` have arrived.

        Returns the kinds of the replies, in order; and what was published from the print to the cell's end: statuses as
        `busy` and `idle`, messages of comms by their method, other kinds as they are.
        """
        session, cell = self._client.session, self._client.execute(source)
        while self._client.get_iopub_msg(timeout=60)["msg_type"] != "stream":
            pass
        for kind, body in requests:
            self._client.shell_channel.send(session.msg(kind, body, metadata={"version": "1.0.0"}))
        answered = 1 + sum(kind.endswith("_request") for kind, _ in requests)
        replies: list[str] = []
        published: list[str] = []
        has_ended = False

        def read_reply() -> None:
            replies.append(self._client.get_shell_msg(timeout=60)["msg_type"])

        def read_published() -> bool:
            message = self._client.get_iopub_msg(timeout=60)
            kind, content = message["msg_type"], message["content"]
            published.append(content.get("execution_state") or content.get("data", {}).get("method") or kind)
            return published[-1] == "idle" and bool(message["parent_header"]["msg_id"] == cell)

        for awaited in during:
            while not has_ended and awaited not in (*replies, *published):
                if awaited.endswith("_reply"):
                    read_reply()
                else:
                    has_ended = read_published()
        then()
        while len(replies) < answered:
            read_reply()
        while not has_ended:
            has_ended = read_published()
        return replies, published

    def processes(self) -> list[psutil.Process]:
        """Every process that was started by this kernel, at any remove, and lives; the kernel too."""
        return [process for process in psutil.process_iter() if self._started(process)]

    def files_with(self, text: str) -> list[Path]:
        """The files of the kernel's home that have a text. Others may be removed meanwhile."""
        found = []
        for path in self.home.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file() and text.encode() in path.read_bytes():
                    found.append(path)
        return found

    def _started(self, process: psutil.Process) -> bool:
        try:
            return process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == f"{self.home}/tmp"
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False

    def _presses(self, marks: Sequence[Mark], texts: list[str]) -> _Presses:
        return _Presses(self._manager, marks, texts)


@dataclass(slots=True)
class _Presses:
    """Presses ■ at its marks, from a thread, for as long as the cell runs. `texts`: what was shown and asked so far."""

    manager: KernelManager
    marks: Sequence[Mark]
    texts: list[str]
    over: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread = field(init=False)

    def __enter__(self) -> None:
        self.thread = threading.Thread(target=self._press)
        self.thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.over.set()
        self.thread.join()

    def _press(self) -> None:
        with contextlib.closing(ensure_event_loop()):  # jupyter_client's blocking calls make one a thread
            for mark in self.marks:
                for part in mark if isinstance(mark, tuple) else (mark,):
                    if any(self.over.wait(pause) for pause in self._pauses(part)):
                        return
                if self.over.is_set():  # a thread may wake up late
                    return
                self.manager.interrupt_kernel()

    def _pauses(self, part: Part) -> Iterator[float]:
        """How long to wait for a part of a mark, in steps."""
        if isinstance(part, float | int):
            yield part
            return
        holds = part if callable(part) else lambda: part in "".join(self.texts)  # a print may come in pieces
        while not holds():
            yield 0.02


def command_of(process: psutil.Process) -> list[str]:
    """The words that a process was started with; none if it has ended meanwhile."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


class Listener:
    """A page that receives all messages of a kernel, whichever cell runs. Use it in a `with`."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._client: BlockingKernelClient = kernel._manager.client()
        self._heard: dict[str, list[Message]] = {}

    def __enter__(self) -> Self:
        self._client.start_channels(shell=False, stdin=False, hb=False, control=False)
        while not self._poll(0.1):  # until the subscription has reached the kernel
            self._kernel.run("")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.stop_channels()

    def of(self, cell: Result, until: Callable[[list[Message]], bool], within: float = 90.0) -> list[Message]:
        """All messages of a cell so far, once a condition holds for them."""
        heard = self._heard.setdefault(cell.id, [])
        end = time.monotonic() + within
        while not until(heard):
            assert time.monotonic() < end, [(message.kind, message.text) for message in heard]
            self._poll(0.1)
        return list(heard)

    @property
    def everything(self) -> list[Message]:
        """All messages so far, of all cells."""
        return [message for messages in self._heard.values() for message in messages]

    def _poll(self, seconds: float) -> bool:
        if not self._client.iopub_channel.socket.poll(seconds * 1000):
            return False
        message = self._client.get_iopub_msg(timeout=0)
        if message["msg_type"] not in ("status", "execute_input"):
            parent = message["parent_header"].get("msg_id", "")
            made = Message(message["msg_type"], message["content"], 0.0, parent)
            self._heard.setdefault(parent, []).append(made)
        return True
