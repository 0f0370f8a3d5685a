"""IPython in the container: runs a cell as a kernel would, and says how it ended. No sockets, no history file.

What ipykernel's shell does differently from IPython's own is done here too, so that a cell's messages are those of a
native kernel; tests/container/cell/test_differential.py compares them one by one.
"""

# mypy: disable-error-code="no-untyped-call"
# Most of IPython's own methods have no types.

from __future__ import annotations

import asyncio
import builtins
import contextlib
import getpass
import os
import pdb  # noqa: T100 - a cell may call it; IPython's takes its place
import sys
import tempfile
import warnings
import zlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from IPython.core import debugger, page
from IPython.core.autocall import ZMQExitAutocall
from IPython.core.compilerop import CachingCompiler
from IPython.core.error import UsageError
from IPython.core.events import EventManager
from IPython.core.interactiveshell import InteractiveShell, InteractiveShellABC
from traitlets import Any as AnyTrait
from traitlets import Instance, Type, default
from traitlets.config import Config

from modal_gpu_magic.container.cell import tracebacks
from modal_gpu_magic.container.cell.kernel import IPythonKernel
from modal_gpu_magic.container.output import comms
from modal_gpu_magic.container.output.publish import Hook, Publisher
from modal_gpu_magic.container.output.streams import flush_streams
from modal_gpu_magic.container.process.interrupt import interruptible
from modal_gpu_magic.container.process.loop import CellLoop
from modal_gpu_magic.wire.process.interpreter import OWN_FILTERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modal_gpu_magic.container.output.event_sender import EventSender
    from modal_gpu_magic.container.process.interrupt import Interrupt

T = TypeVar("T")

TERMINAL = {
    "TERM": "xterm-color",
    "CLICOLOR": "1",
    "FORCE_COLOR": "1",
    "CLICOLOR_FORCE": "1",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
}
"""What ipykernel tells child processes of the terminal they do not have."""

OURS = r"modal_gpu_magic\."
"""Modules of ours that stand below a cell on the stack, where a native kernel has ipykernel's."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a cell ended. `result` holds the last expression's value, if it had one; `error` is what it raised.

    No `traceback` though there is an `error`: IPython shows this kind without one, where it is raised (`UsageError`).
    """

    result: tuple[Any, ...] = ()
    error: BaseException | None = None
    ename: str = ""
    evalue: str = ""
    traceback: tuple[str, ...] = ()


class Compiler(CachingCompiler):
    """Names cells as ipykernel does: libraries know a cell by that (numba's cache), and warnings show it."""

    def get_code_name(self, raw_code: str, transformed_code: str, number: int) -> str:  # noqa: ARG002 - IPython's signature
        """A path that no file has."""
        name = f"{zlib.crc32(raw_code.encode('utf-8', 'replace'))}.py"
        return os.path.join(tempfile.gettempdir(), f"ipykernel_{os.getpid()}", name)  # noqa: PTH118 - a name, not a file


class ZMQInteractiveShell(InteractiveShell):
    """The session's shell. It bears the name of ipykernel's: pandas, plotly, rich and others know a notebook by it."""

    __module__ = "ipykernel.zmqshell"
    displayhook_class = Type(Hook)
    display_pub_class = Type(Publisher)
    compiler_class = Type(Compiler)
    exiter = Instance(ZMQExitAutocall)
    sender = AnyTrait()
    ask = AnyTrait()
    kernel = AnyTrait()
    """What stands for the notebook's: see `container.cell.kernel`."""

    def __init__(self, **traits: Any) -> None:
        self._failure: Outcome | None = None
        self._has_comms = False
        super().__init__(**traits)
        self.kernel = IPythonKernel(self)
        self._cells = CellLoop(self.sender.claim)
        self._hook: Any = self.displayhook
        publishers: tuple[Any, ...] = (self.displayhook, self.display_pub)
        for publisher in publishers:
            publisher.sender = self.sender

    # A cell.

    @interruptible
    def run(self, source: str, execution_count: int, interrupt: Interrupt | None = None) -> Outcome:
        """Run a cell as number `execution_count`. Never raises for what user code does."""
        self._begin(execution_count)
        result: Any = None
        try:
            with self._answering(), interrupt.window() if interrupt else contextlib.nullcontext():
                result = self._run_in_loop(source)
        except KeyboardInterrupt as error:  # it came before the cell's own code began, or after it had ended
            self._failure = self._failure or Outcome((), error, "KeyboardInterrupt", "", ("KeyboardInterrupt",))
        return self._outcome(result) if result is not None else self._failure or Outcome()

    def get_parent(self) -> dict[str, Any]:
        """The request that asks for the cell."""
        parent: dict[str, Any] = self.kernel.get_parent()
        return parent

    def set_parent(self, parent: dict[str, Any]) -> None:
        """`ipywidgets.Output` gives back what `get_parent` returned."""

    def use_comms(self) -> None:
        """Widgets speak through the run's events from now on, also those that arrive from the notebook."""
        self._has_comms = self._has_comms or comms.install(self.sender)

    def take_underscores(self) -> None:
        """`_`, `__`, `___` came from the notebook: go on from there."""
        self._hook.take_underscores()

    def within(self, function: Callable[[], T]) -> T:
        """Call a function of ours in the context in which cells run."""
        return self._cells.within(function)

    @interruptible
    def _run_in_loop(self, source: str) -> Any:
        if self._awaits(source):
            return self.run_cell(source, store_history=True)  # it calls our `loop_runner`
        return self._cells.run_plain(partial(self.run_cell, source, store_history=True))

    @default("loop_runner")
    def _own_loop_runner(self) -> Callable[..., Any]:
        return self._cells.run_coroutine

    def _awaits(self, source: str) -> bool:
        try:
            transformed = self.transform_cell(source)
        except Exception:  # noqa: BLE001 - a cell that cannot be read: IPython says so when it is run
            return False
        return self.should_run_async(source, transformed_cell=transformed, preprocessing_exc_tuple=None)

    def _begin(self, execution_count: int) -> None:
        """The notebook counts; cells that ran elsewhere leave gaps, and `In[n]` is found all the same."""
        self._failure, self._hook.showing = None, False
        self.use_comms()
        self.execution_count = execution_count
        history: Any = self.history_manager
        for lines in (history.input_hist_parsed, history.input_hist_raw):
            lines.extend([""] * (execution_count - len(lines)))

    def _outcome(self, result: Any) -> Outcome:
        error = result.error_before_exec or result.error_in_exec
        if self._failure:
            return self._failure
        if error is not None:
            return Outcome((), error, type(error).__name__, tracebacks.words(error))
        return Outcome(() if result.result is None else (result.result,))

    # Errors. What fails the cell is its outcome; what is shown in passing (`%run bad.py`) is an event.

    def _showtraceback(self, etype: Any, evalue: BaseException, stb: list[str]) -> None:  # noqa: ARG002 - IPython's signature
        self._fail(evalue, tuple(stb))

    def showtraceback(self, exc_tuple: Any = None, *args: Any, **kwargs: Any) -> None:
        """Show an error; IPython would print an exception group itself."""
        error: BaseException | None = None
        with contextlib.suppress(ValueError):  # there is none: IPython says so
            error = self._get_exc_info(exc_tuple)[1]
        if error is not None and tracebacks.is_group(error) and not self._passing():
            self._fail(error, tracebacks.python_traceback(error))
        else:
            super().showtraceback(exc_tuple, *args, **kwargs)

    def show_usage_error(self, exc: BaseException) -> None:
        """A wrong use of a magic: one line, written where the error is raised."""
        if self._passing():
            super().show_usage_error(exc)
        else:
            self._fail(exc, ())

    def _get_exc_info(self, exc_tuple: Any = None) -> tuple[Any, Any, Any]:
        etype, error, _ = super()._get_exc_info(exc_tuple)
        if self._cells.stopping and issubclass(etype, asyncio.CancelledError):
            etype, error = KeyboardInterrupt, KeyboardInterrupt().with_traceback(error.__traceback__)
        tracebacks.cut_ours(error)
        return etype, error, error.__traceback__

    def _passing(self) -> bool:
        """Whether the cell goes on, or has not failed: its own code runs, or a callback that it has registered."""
        if self._hook.showing:
            return False
        return tracebacks.is_running(self.user_global_ns) or tracebacks.is_called(EventManager.trigger)

    def _fail(self, error: BaseException, lines: tuple[str, ...]) -> None:
        flush_streams()
        failure = Outcome((), error, type(error).__name__, tracebacks.words(error), lines)
        if self._passing():
            self.sender.emit("error", ename=failure.ename, evalue=failure.evalue, traceback=list(failure.traceback))
        else:
            self._failure = failure
            self.sender.emit("failed")

    # What a kernel does, and a terminal does otherwise.

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        """`input` and `getpass` ask at the notebook."""

        def own_input(prompt: object = "") -> Any:
            return self.ask(str(prompt))

        def own_getpass(prompt: str = "", stream: object = None, *, echo_char: object = None) -> Any:  # noqa: ARG001
            return self.ask(prompt, password=True)

        before = builtins.input, getpass.getpass
        builtins.input, getpass.getpass = own_input, own_getpass
        try:
            yield
        finally:
            builtins.input, getpass.getpass = before

    def init_environment(self) -> None:
        """As ipykernel sets it; figures appear at the end of a cell, without `%matplotlib inline`."""
        os.environ.update(TERMINAL)
        os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")

    def init_hooks(self) -> None:
        """What would go to the pager (`print?`) is displayed: a remote cell has no pane for it."""
        super().init_hooks()
        self.set_hook("show_in_pager", page.as_hook(page.display_page), 99)

    def init_virtualenv(self) -> None:
        """The container's Python is the only one."""

    def enable_gui(self, gui: str | None = None) -> None:
        """No windows.

        Raises:
            UsageError: a GUI was asked for.
        """
        if gui not in {None, "inline"}:
            raise UsageError(f"a container has no display: {gui!r} cannot be used; use `%matplotlib inline`")

    def ask_exit(self) -> None:
        """`exit()`: the session goes on, and ends with the notebook's kernel."""

    def set_next_input(self, s: str, replace: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - IPython's signature
        """`%load`, `%recall`: say that nothing of here can write into the notebook."""
        self.sender.emit(
            "note", text="A remote cell cannot write into the notebook's cells; run this line in a local cell."
        )

    @contextlib.contextmanager
    def _tee(self, channel: str) -> Iterator[None]:  # noqa: ARG002 - IPython's signature
        """IPython would keep a copy of all output for `%notebook`, at the price of a slower `print`."""
        yield

    def _format_exception_for_storage(self, exception: BaseException, *_: Any, **__: Any) -> dict[str, Any]:
        """For the same `%notebook` IPython would make each traceback twice."""
        return {"ename": type(exception).__name__, "evalue": tracebacks.words(exception), "traceback": []}

    @default("exiter")
    def _own_exiter(self) -> ZMQExitAutocall:
        return ZMQExitAutocall(self)


RemoteShell = ZMQInteractiveShell
InteractiveShellABC.register(ZMQInteractiveShell)


def make_shell(sender: EventSender, ask: Callable[..., str]) -> RemoteShell:
    """The process's shell, with a `__main__` of its own. `ask(prompt, password=...)` answers `input()`.

    No history file and no thread for one. Libraries know a notebook by `IPKernelApp` in the configuration, or by the
    module of ipykernel's shell (tqdm): both are there.
    """
    for message in OWN_FILTERS:
        warnings.filterwarnings("ignore", message)
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=OURS)  # the SDK's filter shows them
    sys.modules.setdefault("ipykernel.zmqshell", sys.modules[__name__])
    pdb.Pdb = debugger.Pdb = debugger.InterruptiblePdb  # type: ignore[misc, assignment]  # as ipykernel: the plain one hangs
    pdb.set_trace = debugger.set_trace
    config = Config({"HistoryManager": {"enabled": False}, "IPKernelApp": {"tqdm": "a notebook"}})
    shell = RemoteShell.instance(config=config, sender=sender, ask=ask)
    sys.breakpointhook = shell.kernel.stop
    return shell
