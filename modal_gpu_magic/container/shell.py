"""IPython in the container: runs a cell as a kernel would, and says how it ended. No sockets, no history file.

What ipykernel's shell does differently from IPython's own is done here too, so that a cell's messages are those of a
native kernel; tests/container/test_differential.py compares them one by one.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import getpass
import os
import pdb  # noqa: T100 - a cell may call it; IPython's takes its place
import tempfile
import warnings
import zlib
from collections.abc import Callable, Coroutine, Iterator
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

from IPython.core import debugger, page
from IPython.core.autocall import ZMQExitAutocall
from IPython.core.compilerop import CachingCompiler
from IPython.core.error import UsageError
from IPython.core.interactiveshell import ExecutionResult, InteractiveShell, InteractiveShellABC
from traitlets import Any as AnyTrait
from traitlets import Instance, Type, default
from traitlets.config import Config

from modal_gpu_magic.container import comms, tracebacks
from modal_gpu_magic.container.interrupt import Interrupt, interruptible
from modal_gpu_magic.container.outlet import Outlet
from modal_gpu_magic.container.publish import Hook, Publisher, flush_streams

TERMINAL = {
    "TERM": "xterm-color",
    "CLICOLOR": "1",
    "FORCE_COLOR": "1",
    "CLICOLOR_FORCE": "1",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
}
"""What ipykernel tells child processes of the terminal they do not have."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a cell ended. `result` holds the last expression's value, if it had one; `error` is what it raised.

    An empty `traceback` with an `error` means: IPython shows this kind without one, where the error is raised
    (`UsageError`, `SystemExit`), or it has been shown (leaving pdb).
    """

    result: tuple[Any, ...] = ()
    error: BaseException | None = None
    ename: str = ""
    evalue: str = ""
    traceback: tuple[str, ...] = ()


class Compiler(CachingCompiler):
    """Names cells as ipykernel does; libraries know a cell by that (numba's cache), and warnings show it."""

    def get_code_name(self, raw_code: str, transformed_code: str, number: int) -> str:
        """A path that no file has."""
        name = f"{zlib.crc32(raw_code.encode('utf-8', 'replace'))}.py"
        return os.path.join(tempfile.gettempdir(), f"ipykernel_{os.getpid()}", name)  # noqa: PTH118 - a name, not a file


class ZMQInteractiveShell(InteractiveShell):
    """The session's shell. It bears the name of ipykernel's: pandas, rich and others know a notebook by it."""

    displayhook_class = Type(Hook)
    display_pub_class = Type(Publisher)
    compiler_class = Type(Compiler)
    exiter = Instance(ZMQExitAutocall)
    outlet: Outlet = AnyTrait()
    ask: Callable[..., str] = AnyTrait()
    kernel = None
    """There is none, but pandas lays a table out for a notebook where the shell has one."""

    def __init__(self, **traits: Any) -> None:
        self._failure: Outcome | None = None
        self._unshowable = self._stopping = self._comms = False
        self._loop = asyncio.new_event_loop()
        self._context = copy_context()
        """A context variable that a cell sets (numpy keeps its error state in one) is set in the next one."""
        super().__init__(**traits)
        self.display_pub.outlet = self.displayhook.outlet = self.outlet

    # A cell.

    @interruptible
    def run(self, source: str, execution_count: int, interrupt: Interrupt | None = None) -> Outcome:
        """Run a cell as number `execution_count`. Never raises for what user code does."""
        self._comms = self._comms or comms.install(self.outlet)
        self._number(execution_count)
        self._failure, self._unshowable = None, False
        result: ExecutionResult | None = None
        try:
            with self._answering(), interrupt.window() if interrupt else contextlib.nullcontext():
                result = self._run_in_loop(source)
        except KeyboardInterrupt as error:
            if result is None:
                return self._failure or Outcome((), error, "KeyboardInterrupt", "", ("KeyboardInterrupt",))
        return self._outcome(result)

    def take_underscores(self) -> None:
        """`_`, `__`, `___` came from the notebook: go on from there."""
        self.displayhook.take_underscores()

    def _number(self, execution_count: int) -> None:
        """The notebook counts; cells that ran elsewhere leave gaps, and `In[n]` is found all the same."""
        self.execution_count = execution_count
        for lines in (self.history_manager.input_hist_parsed, self.history_manager.input_hist_raw):
            lines.extend([""] * (execution_count - len(lines)))

    def _outcome(self, result: ExecutionResult) -> Outcome:
        error = result.error_before_exec or result.error_in_exec
        failure = self._failure
        if failure and error is None and not self._unshowable:
            self._pass(failure)  # in a callback after the cell: it did not fail the cell
            failure = None
        if failure:
            return failure
        if error is not None:
            return Outcome((), error, type(error).__name__, tracebacks.words(error))
        return Outcome(() if result.result is None else (result.result,))

    # The event loop. As in a kernel it is running while a cell runs, so `asyncio.create_task` works in any cell.

    @interruptible
    def _run_in_loop(self, source: str) -> ExecutionResult:
        if self._awaits(source):
            return self.run_cell(source, store_history=True)  # which comes to `_run_coroutine`
        results: list[ExecutionResult] = []

        @interruptible
        def run() -> None:
            try:
                self.outlet.claim()
                results.append(self.run_cell(source, store_history=True))
            finally:
                self._loop.stop()

        handle = self._loop.call_soon(run, context=self._context)
        try:
            self._loop.run_forever()
        finally:
            handle.cancel()  # interrupted before its turn, it would run with the next cell
        return results[0]

    @interruptible
    def _run_coroutine(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        if self._loop.is_running():  # a cell that runs a cell that awaits: a kernel refuses it in the same words
            return self._loop.run_until_complete(coroutine)
        self._context.run(self.outlet.claim)
        task = self._context.run(self._loop.create_task, coroutine)
        try:
            return self._loop.run_until_complete(task)
        except KeyboardInterrupt:
            if task.done():
                raise
            self._stopping = True
            task.cancel()  # else it would go on with the next cell that awaits
            return self._loop.run_until_complete(task)
        finally:
            self._stopping = False

    @default("loop_runner")
    def _own_loop_runner(self) -> Callable[[Coroutine[Any, Any, Any]], Any]:
        return self._run_coroutine

    def _awaits(self, source: str) -> bool:
        try:
            transformed = self.transform_cell(source)
        except Exception:  # noqa: BLE001 - a cell that cannot be read: IPython says so when it is run
            return False
        return bool(self.should_run_async(source, transformed_cell=transformed, preprocessing_exc_tuple=None))

    # Errors. What fails the cell is its outcome; what is shown in passing (`%run bad.py`) is an event.

    def _showtraceback(self, etype: type[BaseException], evalue: BaseException, stb: list[str]) -> None:
        self._fail(evalue, tuple(stb))

    def showtraceback(self, exc_tuple: Any = None, *args: Any, **kwargs: Any) -> None:
        """Show an error; IPython would print an exception group itself."""
        error = self._get_exc_info(exc_tuple)[1]
        if tracebacks.is_group(error) and not self._passing():
            self._fail(error, tracebacks.python_traceback(error))
        else:
            super().showtraceback(exc_tuple, *args, **kwargs)

    def show_usage_error(self, exc: UsageError) -> None:
        """A wrong use of a magic: one line, written where the error is raised."""
        if self._passing():
            super().show_usage_error(exc)
        else:
            self._fail(exc, ())

    def _get_exc_info(self, exc_tuple: Any = None) -> tuple[Any, Any, Any]:
        etype, error, _ = super()._get_exc_info(exc_tuple)
        if self._stopping and issubclass(etype, asyncio.CancelledError):
            etype, error = KeyboardInterrupt, KeyboardInterrupt().with_traceback(error.__traceback__)
        tracebacks.cut_ours(error)
        return etype, error, error.__traceback__

    def _passing(self) -> bool:
        return not self.displayhook.is_active and tracebacks.is_running(self.user_global_ns)

    def _fail(self, error: BaseException, lines: tuple[str, ...]) -> None:
        flush_streams()
        failure = Outcome((), error, type(error).__name__, tracebacks.words(error), lines)
        if self._passing():
            self._pass(failure)
        else:
            self._failure = failure
            self._unshowable = self._unshowable or self.displayhook.is_active

    def _pass(self, failure: Outcome) -> None:
        self.outlet.emit("error", ename=failure.ename, evalue=failure.evalue, traceback=list(failure.traceback))

    # What a kernel answers, and a terminal does otherwise.

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        """`input` and `getpass` ask at the notebook."""

        def own_input(prompt: object = "") -> str:
            return self.ask(str(prompt))

        def own_getpass(prompt: str = "", stream: object = None, *, echo_char: str | None = None) -> str:  # noqa: ARG001
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
        if gui not in (None, "inline"):
            raise UsageError(f"a container has no display: {gui!r} cannot be used here, `%matplotlib inline` can")

    def ask_exit(self) -> None:
        """`exit()`: the session goes on, and ends with the notebook's kernel."""

    def set_next_input(self, s: str, replace: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - IPython's signature
        """`%load`, `%recall`: say that nothing of here can write into the notebook."""
        self.outlet.emit("note", text="A remote cell cannot write into the notebook's cells; run this line in a local cell.")

    @contextlib.contextmanager
    def _tee(self, channel: str) -> Iterator[None]:  # noqa: ARG002 - IPython's signature
        """IPython would keep a copy of all output for `%notebook`, at the price of a slower `print`."""
        yield

    @default("exiter")
    def _own_exiter(self) -> ZMQExitAutocall:
        return ZMQExitAutocall(self)


RemoteShell = ZMQInteractiveShell
InteractiveShellABC.register(ZMQInteractiveShell)


def make_shell(outlet: Outlet, ask: Callable[..., str]) -> RemoteShell:
    """The process's shell, with a `__main__` of its own. `ask(prompt, password=...)` answers `input()`.

    No history file and no thread for one; `IPKernelApp` in its configuration is how tqdm and others know a notebook.
    """
    for message in ("To exit: use 'exit', 'quit', or Ctrl-D", "IProgress not found"):
        # The first is said by the notebook's own IPython, where the error is raised; the second is no advice for there.
        warnings.filterwarnings("ignore", message)
    config = Config({"HistoryManager": {"enabled": False}, "IPKernelApp": {"tqdm": "a notebook"}})
    pdb.Pdb = debugger.Pdb = debugger.InterruptiblePdb  # type: ignore[misc]  # as ipykernel does: the plain one cannot be left
    pdb.set_trace = debugger.set_trace
    return RemoteShell.instance(config=config, outlet=outlet, ask=ask)
