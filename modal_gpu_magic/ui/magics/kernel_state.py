"""State shared by the magics of one kernel: sessions, services and settings. Contains no magic."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import threading
import weakref
from dataclasses import replace
from functools import cached_property
from textwrap import dedent
from typing import TYPE_CHECKING, Any

from traitlets import Bool, Enum, Float, Unicode
from traitlets.config import Configurable

from modal_gpu_magic.catalog.limits import FUNCTION_TIMEOUT
from modal_gpu_magic.errors import MachineError, ModalGpuError, masked
from modal_gpu_magic.sdk.names import PREFIX
from modal_gpu_magic.session.run.interrupts import interruptible
from modal_gpu_magic.ui.magics.notebook_name import file_name, notebook_path, owner_name, session_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    from modal_gpu_magic.line.options import Options
    from modal_gpu_magic.line.parse import Line
    from modal_gpu_magic.plan.machine.definition import Machine
    from modal_gpu_magic.sdk.choice import Kind
    from modal_gpu_magic.session.costs.account_rates import AccountRates
    from modal_gpu_magic.session.facade import Session
    from modal_gpu_magic.session.run.bookkeeper import Write
    from modal_gpu_magic.session.run.cell import Cell
    from modal_gpu_magic.session.run.interrupts import Inbox
    from modal_gpu_magic.session.service.facade import Service
    from modal_gpu_magic.ui.fronts.shell import ShellFront
    from modal_gpu_magic.ui.magics.planned_session import PlannedSession
    from modal_gpu_magic.ui.widgets.attach_bars import AttachBars
    from modal_gpu_magic.ui.widgets.picker import GpuPicker
    from modal_gpu_magic.wire.messages.events import DistributedOptions, Spending

NAME = "modal_gpu"
FETCH_BYTES = {"cloud": 16_000_000, "local": 256_000_000}
SEND_BYTES = {"cloud": 2_000_000_000, "local": 16_000_000_000}
DEFAULT_TIMEOUT = 3600.0
CLUSTER = ".cluster"
"""Suffix of the name of the session that runs the cluster cells of another session."""
NO_GPU_MESSAGE = "No GPU chosen: running on CPU. Write `%%modal_gpu H100` for a GPU, `%modal_gpu gpus` for the table."
INSTALL_MESSAGE = "`pip install` lasts until this container ends; write {} in the header to install once, in the image."


BUSY = (
    "{0} runs in session {1} and would lose its machine. Give this cell a container of its own with --session NAME, "
    "or wait: {0}.result()."
)


class ModalGpu(Configurable):
    """Settings of this kernel: `%config ModalGpu`."""

    backend = Enum(
        ("", "cloud", "local"),
        default_value="",
        help="Where cells run: cloud or local. Empty: cloud if a Modal token is configured.",
    ).tag(config=True)
    ask_limit = Float(
        5.0, help="Ask before running a cell that could cost more than this many dollars, if someone can answer."
    ).tag(config=True)
    budget_cell = Float(
        None,
        allow_none=True,
        min=0.0,
        help="Stop a cell, in its container, before it costs more than this many dollars; refuse one that must. "
        "Locally, the simulated cost counts.",
    ).tag(config=True)
    budget_day = Float(
        None,
        allow_none=True,
        min=0.0,
        help="The same for a day, with the idle time after the cell, by the ledger and what runs now. Local and real "
        "costs are counted apart.",
    ).tag(config=True)
    cache = Bool(True, help="Mount the Volume modal-gpu-magic-cache on GPU machines, for HF_HOME and TORCH_HOME.").tag(
        config=True
    )
    dashboard = Bool(True, help="Show a dashboard above the output of a cell that runs longer than 2 seconds.").tag(
        config=True
    )
    ledger = Bool(
        True, help="Write what each run and idle time costs to a file in your state directory, for %modal_gpu costs."
    ).tag(config=True)
    notify = Bool(
        True,
        help="Show a notification of the browser when a long run has ended. The browser must allow that: set this to "
        "True once more, or press Notify me at a running cell, and the browser asks you.",
    ).tag(config=True)
    notify_after = Float(60.0, help="Shortest run, in seconds, whose end a notification tells.").tag(config=True)
    patience = Float(
        600.0, help="Wait so many seconds for a lost connection to Modal before a running cell is given up."
    ).tag(config=True)
    prefix = Unicode(PREFIX, help="Beginning of the names that a detached session has at Modal.").tag(config=True)
    record = Bool(
        True, help="Save the name of a detached session and of its run in the notebook, with the cell's output."
    ).tag(config=True)
    quiet = Bool(False, help="Hide the status line and the receipt.").tag(config=True)

    on_wanted: Callable[[], None] | None = None
    """Called when the user sets `notify` to True, also if it was True before."""

    def update_config(self, config: Config) -> None:
        """Take settings of `%config`; a setting that has its value already is no change, and may be a wish."""
        super().update_config(config)
        if config[type(self).__name__].get("notify") is True and self.on_wanted is not None:
            self.on_wanted()

    @property
    def shortest_notified(self) -> float | None:
        """Shortest run whose end a notification tells, seconds; None: no notifications."""
        return self.notify_after if self.notify else None


class KernelState:
    """State that outlasts a single line or cell of the kernel.

    Attributes:
        shell: the kernel's IPython shell.
        settings: the settings of `%config ModalGpu`.
        sessions: sessions by name.
        services: services by name.
        current: name of the session that a header without `--session` uses.
        last: front of the last cell, for `%modal_gpu last`; None before the first cell.
        pickers: pickers that follow the session last used.
        is_closed: the extension was unloaded, or loaded again.
        bars: offers, below the notebook's cells, to continue detached sessions; None: nobody sees them.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self.shell, self.settings = shell, ModalGpu(parent=shell)
        self.sessions: dict[str, Session] = {}
        self.services: dict[str, Service] = {}
        self.current = "default"
        self.last: ShellFront | None = None
        self.pickers: weakref.WeakSet[GpuPicker] = weakref.WeakSet()
        self.bars: AttachBars | None = None
        self.is_closed = False
        self.settings.on_wanted = self._ask_for_notifications
        self._announced: set[str] = set()
        self._confirmed: set[Machine] = set()

    def _ask_for_notifications(self) -> None:
        """Have the page that runs this cell ask the browser for its permission to notify."""
        from modal_gpu_magic.ui.fronts.asking import can_ask
        from modal_gpu_magic.ui.widgets.news import NEWS
        from modal_gpu_magic.ui.widgets.origin import Origin

        if getattr(self.shell, "kernel", None) is not None and can_ask(self.shell):
            NEWS.ask_now(Origin.of(self.shell))

    def show(self, session: Session) -> None:
        """Show `session` in all pickers from now on."""
        for picker in self.pickers:
            picker.follow(session)

    def volumes(self) -> set[str]:
        """Return the names of the Volumes that the sessions mount."""
        return {name for session in self.sessions.values() for name, _ in session.machine.volumes}

    def close(self) -> None:
        """Stop all sessions and services of this kernel."""
        self.is_closed = True
        for session in self.sessions.values():
            session.disconnect()
        for service in self.services.values():
            service.stop()
        self.sessions.clear()
        self.services.clear()
        if self.bars is not None:
            self.bars.close()
            self.bars = None

    def note_installs(self, body: str, front: Any) -> None:
        """Say once how to keep the packages that a cell installs by `!pip install`."""
        from modal_gpu_magic.plan.cell.pip_lines import installed_by

        packages = installed_by(body)
        if packages is None:
            return
        option = f"--pip {','.join(map(shlex.quote, packages))}" if packages else "--pip PACKAGE,..."
        text = INSTALL_MESSAGE.format(option)
        if text not in self._announced:
            self._announced.add(text)
            front.say(text)

    def note_budget(self, cell: Cell, front: Any) -> None:
        """Say once when a budget, and not the timeout, ends a cell."""
        from modal_gpu_magic.line.units import write_duration

        if cell.budget and cell.budget not in self._announced:
            self._announced.add(cell.budget)
            limit = write_duration(int(cell.limit or 0))
            front.say(f"This cell stops after {limit} of billed time at the latest, by {cell.budget}.")

    def agree(self, machine: Machine, backend: Kind, cell: Cell) -> None:
        """Ask once per machine before a cell that may cost more than `ask_limit`, if someone can answer.

        Raises:
            MachineError: the user declined.
        """
        from modal_gpu_magic.ui.fronts.receipt import question_text

        price, seconds = machine.per_hour, cell.limit or FUNCTION_TIMEOUT
        worst = None if price is None else price * seconds / 3600
        if backend != "cloud" or machine in self._confirmed or not cell.stdin:
            return
        if worst is not None and worst > self.settings.ask_limit:
            with interruptible():
                answer = input(question_text(machine.title, machine.price_text, seconds, worst))
            if not answer.strip().lower().startswith("y"):
                raise MachineError("not run. To lower the maximum cost, set a shorter --timeout or use a smaller GPU.")
        self._confirmed.add(machine)

    def parse(self, text: str) -> Line:
        """Parse a line; machine names in the line are variables of the notebook.

        Raises:
            LineError: the line is wrong.
        """
        from modal_gpu_magic.line.parse import parse
        from modal_gpu_magic.plan.machine.definition import Machine
        from modal_gpu_magic.wire.values.referenced_globals import is_name

        found = [name for name, value in self.shell.user_ns.items() if issubclass(type(value), Machine)]
        machines = [name for name in found if is_name(name)]
        return parse(text, machines=machines)

    def choose(self, line: Line, front: Any) -> Line:
        """Fill in the GPUs for `--model`. A message names the GPUs picked, or says that the GPUs are too small."""
        from modal_gpu_magic.plan.machine.choice import choose

        named: Machine | None = self.shell.user_ns[line.machine] if line.machine else None
        choice = choose(line.options, named.gpus if named else line.specs)
        if choice.said:
            front.say(choice.said)
        return line if named and named.gpus else replace(line, specs=choice.specs)

    def session_for(self, line: Line, front: Any) -> Session:
        """Return the session of the header, with the machine that the header sets. A replacement is announced first."""
        return self.apply(self.plan(line, front), line, front)

    def plan(self, line: Line, front: Any, inbox: Inbox | None = None) -> PlannedSession:
        """Return what the header makes of its session, and change nothing.

        Args:
            line: the header.
            front: shows a message.
            inbox: gets presses of ■; None: ■ raises KeyboardInterrupt by itself.

        Raises:
            MachineError: the machine cannot be made, or background cells run in the session that would end.
            KeyboardInterrupt: ■ was pressed.
        """
        from modal_gpu_magic.plan.machine.definition import differences
        from modal_gpu_magic.session.facade import Session
        from modal_gpu_magic.ui.magics.planned_session import PlannedSession

        name = self.name_of(line)
        present = self.sessions.get(name)
        kind = self.kind_of_backend(line.options.backend, front)
        machine = self._machine(line, present)
        if present is None or present.backend != kind:
            if present is not None and present.backlog.runs:
                raise MachineError(BUSY.format(present.backlog.runs[0].name, name))
            new = Session(machine, name, kind, self.shell.user_ns, self.shell.user_ns_hidden)
            return PlannedSession(new, machine, is_new=True, former=present)
        replaces = present.is_open and bool(
            differences(present.machine, machine) or not present.builds_the_same(machine, inbox)
        )
        if replaces and (busy := present.backlog.runs):
            raise MachineError(BUSY.format(busy[0].name, name))
        return PlannedSession(present, machine, replaces=replaces, carries=bool(line.options.move))

    def apply(self, plan: PlannedSession, line: Line, front: Any, inbox: Inbox | None = None) -> Session:
        """Give the session its planned machine, and return the session. The arguments are those of `plan`."""
        session, machine = plan.session, plan.machine
        before = plan.former or (None if plan.is_new else session)
        self._announce_idle_cost(line, machine, before.machine if before is not None else None, front)
        if line.options.detach and not line.options.session and not session.name.endswith(CLUSTER):
            self.current = session.name
        if plan.former is not None:
            former = plan.former.backend
            front.say(f"Session {session.name} moves to the {session.backend} backend; its {former} container stops.")
            plan.former.stop()
        elif plan.is_new and not (machine.gpus or self.sessions):
            front.say(NO_GPU_MESSAGE)
        self.add(session)
        if plan.replaces and plan.carries:
            session.move(machine, front, inbox)
        elif plan.replaces:
            session.replace(machine, front)
        elif machine != session.machine:
            keep_warm_changed = machine.keep_warm != session.machine.keep_warm
            session.machine = machine
            if keep_warm_changed:
                session.keep_warm(machine.scaledown, front.say)
        return session

    @property
    def notebook(self) -> str:
        """File name of the notebook; empty: not known."""
        return file_name(notebook_path(self.shell))

    @property
    def write(self) -> Write | None:
        """Write records into the ledger; None: the ledger is off."""
        from modal_gpu_magic.session.costs.ledger import Ledger

        return Ledger().append if self.settings.ledger else None

    def add(self, session: Session) -> Session:
        """Add a session, or apply changed settings of `%config ModalGpu` to it."""
        self.sessions[session.name] = session
        if session.backend == "cloud" and self.rates is not None:
            threading.Thread(target=self.rates.refresh, name="modal-gpu-rates", daemon=True).start()
        session.cache, session.patience = self.settings.cache, self.settings.patience
        session.prefix, session.owner_name = self.settings.prefix, owner_name(self.shell)
        session.notebook, session.status.book.write = notebook_path(self.shell), self.write
        return session

    @cached_property
    def rates(self) -> AccountRates | None:
        """The account's own rates; None: no account is configured."""
        from modal_gpu_magic.sdk.choice import account_key
        from modal_gpu_magic.session.costs.account_rates import AccountRates

        def ask() -> Mapping[str, object]:
            from modal_gpu_magic.sdk.billing import rates

            return rates()

        account = account_key(os.environ)
        return AccountRates(account, ask) if account else None

    def spending(self, line: Line, front: Any) -> Spending | None:
        """Return the budget of the header's cell; None: none is set.

        Raises:
            MachineError: the cell may cost more than a budget allows.
        """
        settings = self.settings
        if settings.budget_cell is None and settings.budget_day is None:
            return None
        from modal_gpu_magic.ui.magics.budgets import spending

        kind = self.kind_of_backend(line.options.backend, front)
        timeout = None if line.options.service else line.options.timeout
        return spending(
            settings.budget_cell,
            settings.budget_day,
            has_ledger=settings.ledger,
            machine=self._machine(line, self.sessions.get(self.name_of(line))),
            backend=kind,
            timeout=timeout,
        )

    def _announce_idle_cost(self, line: Line, machine: Machine, before: Machine | None, front: Any) -> None:
        """Show what the keep-warm time of a header costs, if the time is new."""
        from modal_gpu_magic.catalog import rates
        from modal_gpu_magic.plan.machine.quote import idle_words

        if line.options.keep_warm is not None and (before is None or before.scaledown != machine.scaledown):
            stays = idle_words(machine.per_hour, machine.scaledown)
            front.say(f"{machine.title} stays {stays} at Modal, {rates.current().words}.")

    def rehearsal(self, line: Line, front: Any) -> Session:
        """Return a session as the header would configure it, without changing the existing session."""
        from modal_gpu_magic.plan.machine.definition import differences
        from modal_gpu_magic.session.facade import Session

        name = self.name_of(line)
        session, kind = self.sessions.get(name), self.kind_of_backend(line.options.backend, front)
        machine = self._machine(line, session)
        rehearsal = Session(machine, name, kind, self.shell.user_ns, self.shell.user_ns_hidden)
        if session is not None and session.backend == kind and not differences(session.machine, machine):
            rehearsal.values = session.values
        return rehearsal

    def name_of(self, line: Line) -> str:
        """Return the session's name. Clusters use a session of their own, so the other session keeps its variables."""
        named: Machine | None = self.shell.user_ns[line.machine] if line.machine else None
        nodes = line.options.nodes or (named.nodes if named else 1)
        name = line.options.session or self.current
        if line.options.detach and name == "default":
            name = session_name(self.shell)
        return name.removesuffix(CLUSTER) + CLUSTER if nodes > 1 else name

    def _machine(self, line: Line, session: Session | None) -> Machine:
        from modal_gpu_magic.plan.machine.definition import inherit

        session = session or self.sessions.get(line.options.session or self.current)
        base = session.machine if session is not None else None
        if line.machine is not None:
            base = self.shell.user_ns[line.machine]
        kind = getattr(
            sys.modules.get("modal"), "Image", None
        )  # not imported: a thread of this package may be importing modal
        images = {n: v for n, v in self.shell.user_ns.items() if kind is not None and issubclass(type(v), kind)}
        return inherit(base, line, images, os.environ)

    def chosen_kind(self, explicit: str | None = None) -> Kind:
        """Return the backend that a line is about; `explicit` is its `--backend`."""
        from modal_gpu_magic.sdk.choice import choose, has_token

        return choose(explicit, self.settings.backend, os.environ, token=lambda: has_token(os.environ)).kind

    def connect_soon(self, line: Line) -> None:
        """Begin to connect for a session that is not open: the backend answers while this process prepares the cell.

        An error is met again where the cell needs the backend.
        """
        from modal_gpu_magic.sdk.client import connect_soon

        with contextlib.suppress(ModalGpuError):
            session = self.sessions.get(self.name_of(line))
            if session is None or not session.is_open:
                machine = self._machine(line, session)
                has_volume = machine.saves and not machine.detach
                connect_soon(self.chosen_kind(line.options.backend), lasting=machine.detach, has_volume=has_volume)

    def kind_of_backend(self, explicit: str | None, front: Any) -> Any:
        """Return the backend; `explicit` is a line's `--backend`. Announce once an SDK newer than the tested ones."""
        from modal_gpu_magic.sdk.tested import newer_than_tested

        kind = self.chosen_kind(explicit)
        if (text := newer_than_tested()) and text not in self._announced:
            self._announced.add(text)
            front.say(text)
        return kind

    def cell_of(self, line: Line, body: str, session: Session) -> Cell:
        """Return the cell to run: source, names that the source uses, and options of the header."""
        from modal_gpu_magic.plan.cell.facts import read
        from modal_gpu_magic.plan.cell.texts import texts_of
        from modal_gpu_magic.session.project.needs import Needs, needs
        from modal_gpu_magic.session.project.referenced_files import find_files
        from modal_gpu_magic.session.run.cell import Cell
        from modal_gpu_magic.session.values.sync import TransferOptions
        from modal_gpu_magic.ui.fronts.asking import can_ask
        from modal_gpu_magic.ui.fronts.shell import cell_number
        from modal_gpu_magic.ui.magics.kernel_facts import facts_of
        from modal_gpu_magic.wire.process.state_table import own_states

        options, kind = line.options, session.backend
        transform = self.shell.transform_cell
        facts = read(body, transform, texts_of(self.shell.user_ns))
        states = own_states()
        used = states.names_used(body, self.shell.user_ns)
        names = replace(
            facts.names,
            reads=facts.names.reads | used,
            maybe=facts.names.maybe | (used - facts.names.reads),
            imports=facts.names.imports | states.extensions.named_in(body),
        )
        # The local backend runs on the kernel's packages, so everything that the cell imports is installed.
        left_out = tuple(options.no_in or ())
        found = find_files(body, transform, names, self.shell.user_ns, session.files, session.modules, left_out)
        names = replace(names, imports=names.imports | found.modules)
        needed = needs(names, self.shell.user_ns, session.modules, left_out) if kind == "cloud" else Needs()
        return Cell(
            source=_with_header(line.text, body),
            count=cell_number(self.shell),
            line=line,
            facts=replace(facts, names=names),
            transfer_options=TransferOptions(tuple(options.in_ or ()), left_out, options.send or SEND_BYTES[kind]),
            timeout=options.timeout or DEFAULT_TIMEOUT,
            fetch_bytes=options.fetch if options.fetch is not None else FETCH_BYTES[kind],
            fetch_names=tuple(options.out or ()),
            clean=bool(options.clean),
            files=found,
            stdin=can_ask(self.shell),
            imports=needed.imports,
            packages=needed.packages,
            distributed=_distributed_options(options, session.machine.nodes),
            kernel=facts_of(self.shell),
        )


def _distributed_options(options: Options, nodes: int) -> DistributedOptions | None:
    """Return how to run the cell in ranks; None: in one process."""
    from modal_gpu_magic.wire.messages.events import DistributedOptions

    if options.torchrun is None and nodes == 1:
        return None
    ranks = options.ranks or ()
    shown = None if "all" in ranks else frozenset(map(int, ranks))
    return DistributedOptions(options.torchrun is not None, options.torchrun or None, shown)


def _with_header(text: str, body: str) -> str:
    """Put the header above the body as a comment, to keep line numbers. A cell magic must stay on the first line.

    The comment is indented as the body, whose common indent IPython removes. The comment is seen in tracebacks: values
    of `--env` in it are stars.
    """
    from modal_gpu_magic.wire.messages.events import HEADER_COMMENT

    if body.lstrip().startswith("%%"):
        return body
    lines = zip(body.splitlines(), dedent(body).splitlines(), strict=False)
    indent = next((line.removesuffix(dedented) for line, dedented in lines if line.strip()), "")
    return f"{indent}{HEADER_COMMENT} {masked(text)}\n{body}"
