"""IPython in the container: runs a cell as a kernel does and returns the outcome. No sockets, no history file.

The module reproduces the differences between ipykernel's shell and IPython's own, so that a cell sends the same
messages as in a native kernel; tests/container/cell/test_differential.py compares the messages one by one.

Code of this package that a cell calls (streams, displays, the end of a statement) imports the functions it needs by
name: a cell may replace those of `contextlib` or `zlib`.
"""

# mypy: disable-error-code="no-untyped-call"
# Most of IPython's own methods have no types.

from __future__ import annotations

import asyncio
import builtins
import contextlib
import getpass
import os
import pdb  # noqa: T100 - a cell may call pdb; IPython's debugger replaces it
import sys
import tempfile
import warnings
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from zlib import crc32

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
from modal_gpu_magic.container.process import essentials
from modal_gpu_magic.container.process.interrupt import interruptible
from modal_gpu_magic.container.process.loop import CellLoop
from modal_gpu_magic.wire.messages.events import HEADER_COMMENT
from modal_gpu_magic.wire.process.interpreter import OWN_FILTERS
from modal_gpu_magic.wire.values.kinds import name_of
from modal_gpu_magic.wire.values.own_code import words_of
from modal_gpu_magic.wire.values.sound_text import sound

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
"""Environment variables by which ipykernel describes a terminal to child processes."""

PACKAGE_PATTERN = r"modal_gpu_magic\."
"""Modules of this package: they are below a cell on the stack, in the place of ipykernel's modules."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a cell.

    Attributes:
        result: the last expression's value, if any.
        error: the exception that the cell raised.
        ename: the exception's class name.
        evalue: the exception's message.
        traceback: the formatted lines. Empty despite an `error`: IPython shows such an error itself, as one line
            (`UsageError`).
    """

    result: tuple[Any, ...] = ()
    error: BaseException | None = None
    ename: str = ""
    evalue: str = ""
    traceback: tuple[str, ...] = ()


def _failure_outside(error: BaseException) -> Outcome:
    """Return the outcome of a cell that ended outside of its own code: by ■, or by an object that IPython reads."""
    name, words = name_of(type(error)), words_of(error)
    line = f"{name}: {words}" if words else name
    return Outcome((), error, name, words, (line,))


class Compiler(CachingCompiler):
    """Names cells as ipykernel does: numba's cache identifies a cell by that name, and warnings show it."""

    def get_code_name(self, raw_code: str, transformed_code: str, number: int) -> str:  # noqa: ARG002 - IPython's signature
        """Return the path that stands for the cell in tracebacks; no such file exists."""
        name = f"{crc32(raw_code.encode('utf-8', 'replace'))}.py"
        return f"{tempfile.gettempdir()}{os.sep}ipykernel_{os.getpid()}{os.sep}{name}"  # a cell may replace `os.path`


class ZMQInteractiveShell(InteractiveShell):
    """The session's shell. It has the name of ipykernel's shell: pandas, plotly and rich detect a notebook by it."""

    __module__ = "ipykernel.zmqshell"
    displayhook_class = Type(Hook)
    display_pub_class = Type(Publisher)
    compiler_class = Type(Compiler)
    exiter = Instance(ZMQExitAutocall)
    sender = AnyTrait()
    ask = AnyTrait()
    kernel = AnyTrait()
    """The stand-in for the notebook's kernel: see `container.cell.kernel`."""

    def __init__(self, **traits: Any) -> None:
        self._failure: Outcome | None = None
        self._has_comms = False
        self.why_unbound: Callable[[str], str] = lambda _: ""
        """Returns why a name is not bound although a cell has bound it; empty: not known."""
        self.binds_anew: Callable[[dict[str, Any]], None] = lambda _: None
        """Gets IPython's own names with their values, which `%reset` binds anew."""
        self._transformed: dict[str, str] = {}
        """The cell that is about to run, with the Python that IPython's transformers have made of it."""
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
        """Run a cell as number `execution_count`. Never raises for an error in user code."""
        self._begin(execution_count)
        result: Any = None
        essentials.remember_modules()
        essentials.cell_begins()
        try:
            with self._stdin_from_notebook(), interrupt.window() if interrupt else nullcontext():
                result = self._run_in_loop(source)
        except BaseException as error:  # noqa: BLE001 - before the cell's own code began, or after it had ended
            self._failure = self._failure or _failure_outside(error)
        self._say_what_was_put_back()
        return self._outcome(result) if result is not None else self._failure or Outcome()

    @interruptible
    async def run_code(self, code_obj: Any, result: Any = None, *, async_: bool = False) -> bool:
        """Run one statement; the built-ins that it replaces are in effect for user code alone."""
        essentials.user_begins()
        try:
            return bool(await super().run_code(code_obj, result, async_=async_))
        finally:
            essentials.user_ends()

    def get_parent(self) -> dict[str, Any]:
        """Return the Jupyter request of the cell."""
        parent: dict[str, Any] = self.kernel.get_parent()
        return parent

    def _say_what_was_put_back(self) -> None:
        if names := essentials.cell_ends():
            words = ", ".join(names)
            self.sender.emit(
                "note", text=f"Restored {words}: the cell had replaced or removed what the container needs."
            )

    def set_parent(self, parent: dict[str, Any]) -> None:
        """Do nothing: `ipywidgets.Output` passes the result of `get_parent` to this method."""

    def use_comms(self) -> None:
        """Send widgets' messages as the run's events from now on, including widgets sent from the notebook."""
        self._has_comms = self._has_comms or comms.install(self.sender)

    def take_underscores(self) -> None:
        """Continue from the notebook's `_`, `__`, `___`."""
        self._hook.take_underscores()

    def within(self, function: Callable[[], T]) -> T:
        """Call `function` in the context in which cells run."""
        return self._cells.within(function)

    @interruptible
    def _run_in_loop(self, source: str) -> Any:
        if self._awaits(source):
            return self.run_cell(source, store_history=True)  # IPython calls `loop_runner`
        return self._cells.run_plain(partial(self.run_cell, source, store_history=True))

    @default("loop_runner")
    def _own_loop_runner(self) -> Callable[..., Any]:
        return self._cells.run_coroutine

    def _awaits(self, source: str) -> bool:
        self._transformed.clear()
        try:
            transformed = self.transform_cell(source)
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - IPython reports a cell that cannot be parsed when it runs
            return False
        self._transformed[source] = transformed
        return self.should_run_async(source, transformed_cell=transformed, preprocessing_exc_tuple=None)

    def transform_cell(self, raw_cell: str) -> str:
        """Turn a cell into Python; the user's transformers run once for a cell, as natively."""
        found = self._transformed.pop(raw_cell, None)
        transformed: str = self._whole_line(super().transform_cell(raw_cell)) if found is None else found
        return transformed

    def _whole_line(self, cell: str) -> str:
        """Expand a macro, or a call without parentheses, in a cell of one line: the header above makes it two."""
        header, _, body = cell.partition("\n")
        if not header.startswith(HEADER_COMMENT) or len(body.splitlines()) != 1:
            return cell
        prefilter: Any = self.prefilter_manager
        with self.builtin_trap:
            return f"{header}\n{prefilter.prefilter_lines(body)}\n"

    def _begin(self, execution_count: int) -> None:
        """Set the notebook's execution count; pad the history for cells that ran elsewhere, so that `In[n]` works."""
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
            return Outcome((), error, name_of(type(error)), words_of(error))
        return Outcome(() if result.result is None else (result.result,))

    # Errors. An error that fails the cell is its outcome; an error that is only shown (`%run bad.py`) is an event.

    def _showtraceback(self, etype: Any, evalue: BaseException, stb: list[str]) -> None:  # noqa: ARG002 - IPython's signature
        self._fail(evalue, tuple(stb))

    @interruptible
    def showtraceback(self, exc_tuple: Any = None, *args: Any, **kwargs: Any) -> None:
        """Show an error. IPython would print an exception group by itself."""
        error: BaseException | None = None
        with suppress(ValueError):  # no exception: IPython prints a message
            error = self._get_exc_info(exc_tuple)[1]
        if error is not None and tracebacks.is_group(error) and not self._cell_continues():
            self._fail(error, tracebacks.python_traceback(error))
        else:
            super().showtraceback(exc_tuple, *args, **kwargs)

    def show_usage_error(self, exc: BaseException) -> None:
        """Show a wrong use of a magic as one line, at the point where the error is raised."""
        if self._cell_continues():
            super().show_usage_error(exc)
        else:
            self._fail(exc, ())

    def _get_exc_info(self, exc_tuple: Any = None) -> tuple[Any, Any, Any]:
        etype, error, _ = super()._get_exc_info(exc_tuple)
        if self._cells.stopping and issubclass(etype, asyncio.CancelledError):
            etype, error = KeyboardInterrupt, KeyboardInterrupt().with_traceback(error.__traceback__)
        self._explain(error)
        if cut := tracebacks.cut_ours(error):
            self.sender.emit(
                "note", text=f"The traceback is too deep to show: {cut:,} frames of its middle are left out."
            )
        return etype, error, error.__traceback__

    def _explain(self, error: BaseException) -> None:
        """Say in the error about an unbound name that its value was lost with a container."""
        if isinstance(error, NameError) and not isinstance(error, UnboundLocalError):
            why = self.why_unbound(error.name or "")
            if why and why not in (said := words_of(error)):
                error.args = (f"{said}: {why}; run the cell that made it again",)

    def _cell_continues(self) -> bool:
        """Whether the error does not fail the cell: the cell's code, or a callback it registered, is still running."""
        if self._hook.showing:
            return False
        return tracebacks.is_running(self.user_global_ns) or tracebacks.is_called(EventManager.trigger)

    def _fail(self, error: BaseException, lines: tuple[str, ...]) -> None:
        flush_streams()
        failure = Outcome((), error, name_of(type(error)), words_of(error), lines)
        if self._cell_continues():
            self.sender.emit(
                "error",
                ename=failure.ename,
                evalue=sound(failure.evalue),
                traceback=list(map(sound, failure.traceback)),
            )
        else:
            self._failure = failure
            self.sender.emit("failed")

    # Differences between a kernel and a terminal.

    @contextlib.contextmanager
    def _stdin_from_notebook(self) -> Iterator[None]:
        """Replace `input` and `getpass`: the notebook asks the user."""

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

    def init_user_ns(self) -> None:
        """Bind IPython's own names: at the start, and in `%reset`."""
        super().init_user_ns()
        self.binds_anew(self.user_ns_hidden)

    def init_environment(self) -> None:
        """Set the environment as ipykernel does; figures appear at the end of a cell, without `%matplotlib inline`."""
        os.environ.update(TERMINAL)
        os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")

    def init_hooks(self) -> None:
        """Display text for the pager (`print?`) as output: a remote cell has no pager pane."""
        super().init_hooks()
        self.set_hook("show_in_pager", page.as_hook(page.display_page), 99)

    def init_virtualenv(self) -> None:
        """Do nothing: the container has no virtual environment."""

    def enable_gui(self, gui: str | None = None) -> None:
        """Accept inline figures only.

        Raises:
            UsageError: a cell asks for a GUI.
        """
        if gui not in {None, "inline"}:
            raise UsageError(f"{gui!r} needs a display, which a container does not have; write `%matplotlib inline`")

    def ask_exit(self) -> None:
        """Do nothing on `exit()`: the session ends with the notebook's kernel."""

    def set_next_input(self, s: str, replace: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - IPython's signature
        """Send a note for `%load` and `%recall`: the container cannot write into the notebook's cells."""
        self.sender.emit(
            "note",
            text="A remote cell cannot write into the notebook's cells; run this line in a cell without %%modal_gpu.",
        )

    @contextlib.contextmanager
    def _tee(self, channel: str) -> Iterator[None]:  # noqa: ARG002 - IPython's signature
        """Do nothing: IPython would copy all output for `%notebook`, which slows down `print`."""
        yield

    def _format_exception_for_storage(self, exception: BaseException, *_: Any, **__: Any) -> dict[str, Any]:
        """Return no traceback: for `%notebook`, IPython would format each traceback a second time."""
        return {"ename": type(exception).__name__, "evalue": words_of(exception), "traceback": []}

    @default("exiter")
    def _own_exiter(self) -> ZMQExitAutocall:
        return ZMQExitAutocall(self)


RemoteShell = ZMQInteractiveShell
InteractiveShellABC.register(ZMQInteractiveShell)


def make_shell(sender: EventSender, ask: Callable[..., str]) -> RemoteShell:
    """Make the process's shell, with its own `__main__`. `ask(prompt, password=...)` answers `input()`.

    The shell has no history file and no history thread. Libraries detect a notebook by `IPKernelApp` in the
    configuration, or by the module of ipykernel's shell (tqdm); this function provides both.
    """
    for message in OWN_FILTERS:
        warnings.filterwarnings("ignore", message)
    warnings.filterwarnings(
        "ignore", category=DeprecationWarning, module=PACKAGE_PATTERN
    )  # a filter of the SDK shows them
    sys.modules.setdefault("ipykernel.zmqshell", sys.modules[__name__])
    pdb.Pdb = debugger.Pdb = debugger.InterruptiblePdb  # type: ignore[misc, assignment]  # as in ipykernel: the plain debugger hangs
    pdb.set_trace = debugger.set_trace
    config = Config({"HistoryManager": {"enabled": False}, "IPKernelApp": {"tqdm": "a notebook"}})
    shell = RemoteShell.instance(config=config, sender=sender, ask=ask)
    sys.breakpointhook = shell.kernel.stop
    return shell
