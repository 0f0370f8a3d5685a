"""The magics `%%modal_gpu` and `%modal_gpu`: from a header and a cell to a session's run."""

from __future__ import annotations

import os
import sys
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from traitlets import Bool, Enum, Float
from traitlets.config import Configurable

from modal_gpu_magic.errors import LineError, MachineError
from modal_gpu_magic.session.presses import Presses, in_one_line, interruptible, stopped, was_pressed

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from modal_gpu_magic.line.options import Options
    from modal_gpu_magic.line.parse import Line
    from modal_gpu_magic.plan.machine import Machine
    from modal_gpu_magic.session.cell import Cell
    from modal_gpu_magic.session.presses import Inbox
    from modal_gpu_magic.session.service import Service
    from modal_gpu_magic.session.session import Session
    from modal_gpu_magic.session.values import Homecoming
    from modal_gpu_magic.ui.output import NotebookFront
    from modal_gpu_magic.ui.picker import GpuPicker
    from modal_gpu_magic.wire.events import Spread

NAME = "modal_gpu"
FETCH_BYTES = {"cloud": 16_000_000, "local": 256_000_000}
SEND_BYTES = {"cloud": 2_000_000_000, "local": 16_000_000_000}
DEFAULT_TIMEOUT = 3600.0
CLUSTER = ".cluster"
"""Behind a session's name: the one of its cells that run on a cluster."""
FUNCTION_TIMEOUT = 86_400
"""Seconds: what a cell without a timeout may take at most."""
SAID_ONCE = (
    "No Modal token is configured, so cells run on the local backend: on this machine's CPU, GPUs simulated. "
    "`modal setup` in a terminal connects to Modal."
)


NO_MACHINE_OF_A_SESSION = (
    "A cluster keeps nothing between cells, so no session has one: write it behind %%modal_gpu in each cell."
)


class ModalGpu(Configurable):
    """The settings (`%config ModalGpu`) and the two magics of this kernel."""

    backend = Enum(
        ("", "cloud", "local"),
        default_value="",
        help="Where cells run: cloud, local; empty: cloud if a Modal token is configured.",
    ).tag(config=True)
    ask_limit = Float(
        5.0, help="Ask before a cell that could cost more than this many dollars at Modal, where someone can answer."
    ).tag(config=True)
    cache = Bool(True, help="Mount the Volume modal-gpu-magic-cache at GPU machines, for HF_HOME and TORCH_HOME.").tag(
        config=True
    )
    dashboard = Bool(True, help="Show a dashboard above the output of a cell that runs longer than two seconds.").tag(
        config=True
    )
    quiet = Bool(False, help="Show no status line and no receipt.").tag(config=True)

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(parent=shell)
        self.shell = shell
        self.sessions: dict[str, Session] = {}
        self.services: dict[str, Service] = {}
        self.current = "default"
        self.last: NotebookFront | None = None
        self._pickers: weakref.WeakSet[GpuPicker] = weakref.WeakSet()
        self._said_local = False
        self._agreed: set[Machine] = set()

    def run_cell(self, text: str, body: str) -> None:
        """`%%modal_gpu [SPEC ...] [options]`: run the cell in a session's container.

        Raises:
            ModalGpuError: the header is wrong, a value cannot travel, or the run did not end by itself.
            Exception: the cell's own.
        """
        from modal_gpu_magic.ui.beside import answering

        try:
            with answering(self.shell), Presses() as presses:
                home = self._run(text, body, presses.inbox)
        except KeyboardInterrupt as error:
            raise in_one_line(error) from None
        if home is not None and home.has_result and home.result is not None:
            hook: Any = self.shell.displayhook
            hook.update_user_ns(home.result)
        if was_pressed(presses.inbox):  # while its values were written here
            raise stopped("stopped when the cell had ended; all its values are here")

    def _run(self, text: str, body: str, inbox: Inbox) -> Homecoming | None:
        from modal_gpu_magic.ui.output import front_for

        line = self._parse(text)
        front = front_for(self.shell, quiet=self.quiet or bool(line.options.quiet), dashboard=self.dashboard)
        line = self._choose(line, front)
        if line.options.service:
            self._serve(line, body, front, inbox)
            return None
        if line.options.dry_run:
            from modal_gpu_magic.ui.dry_run import show

            session = self._rehearsal(line, front)
            show(session, self._cell(line, body, session))
            return None
        before = self.sessions.get(self._name(line))
        machine = before.machine if before is not None else None
        session = self._session(line, front)
        self._show(session)
        cell = self._cell(line, body, session)
        self._agree(session, cell)
        try:
            return session.execute(cell, front, inbox)
        except MachineError:
            session.fall_back(machine)
            raise
        finally:
            self.last = front if front.kept is not None else self.last

    def _serve(self, line: Line, body: str, front: Any, inbox: Inbox) -> None:
        """A cell with `--service`: the session has a say in its machine, and does not change."""
        from modal_gpu_magic.ui import dry_run, service

        session = self._rehearsal(line, front)
        cell = self._cell(line, body, session)
        made = service.make(self, line, cell, session)
        if line.options.dry_run:
            dry_run.show_service(made, session, cell)
        else:
            self._agree(session, cell)
            service.start(self, made, front, inbox)

    def run_line(self, text: str) -> Any:
        """`%modal_gpu [picker] | use | gpus | recommend | put | get | ls | status | last | metrics | stop | help`."""
        from modal_gpu_magic.ui.commands import COMMANDS, unknown
        from modal_gpu_magic.ui.output import can_ask

        word, _, rest = text.strip().partition(" ")
        is_seen = getattr(self.shell, "kernel", None) is not None and can_ask(self.shell)
        command = COMMANDS.get(word or ("picker" if is_seen else "help"))
        if command is None:
            raise LineError(unknown(word), text, 0, len(word))
        return command(self, rest.strip())

    def picker(self, text: str) -> GpuPicker:
        """A picker of these specs, or the session's; it shows the session live.

        Raises:
            LineError: a spec is wrong.
        """
        from modal_gpu_magic.plan.machine import specs_text
        from modal_gpu_magic.ui.picker import GpuPicker

        session = self.sessions.get(self.current)
        specs = self._parse(text).specs or (session.machine.gpus if session else ())
        made = GpuPicker(specs_text(specs) or "H100", use=self.use, session=session)
        self._pickers.add(made)
        return made

    def use(self, text: str) -> None:
        """`%modal_gpu use SPEC ... [options]`: set the machine of the session; nothing starts.

        Raises:
            LineError: the line is wrong, or has options of a single cell.
        """
        from modal_gpu_magic.line.options import OPTIONS
        from modal_gpu_magic.ui.output import front_for

        line = self._parse(text)
        given = line.options.given("how")
        only_cells = [flag for flag, option in OPTIONS.items() if option.field in given]
        if only_cells:
            raise LineError(f"{', '.join(only_cells)} belongs to a cell: write it behind %%{NAME}.")
        front = front_for(self.shell, quiet=self.quiet)
        line = self._choose(line, front)
        if self._name(line).endswith(CLUSTER):
            raise LineError(NO_MACHINE_OF_A_SESSION)
        session = self._session(line, front)
        self._show(session)
        self.current = session.name

    def _show(self, session: Session) -> None:
        """The pickers show this session from now on."""
        for picker in self._pickers:
            picker.follow(session)

    def volumes(self) -> set[str]:
        """The names of the Volumes that the sessions mount."""
        return {name for session in self.sessions.values() for name, _ in session.machine.volumes}

    def close(self) -> None:
        """End every session of this kernel."""
        for session in self.sessions.values():
            session.stop()
        for service in self.services.values():
            service.stop()
        self.sessions.clear()
        self.services.clear()

    def _agree(self, session: Session, cell: Cell) -> None:
        """Ask before a machine that may cost much, once, and only where someone can answer.

        Raises:
            MachineError: the answer was no.
        """
        from modal_gpu_magic.ui.receipt import question_text

        price, seconds = session.machine.per_hour, cell.timeout or FUNCTION_TIMEOUT
        worst = None if price is None else price * seconds / 3600
        if session.backend != "cloud" or session.machine in self._agreed or not cell.stdin:
            return
        if worst is not None and worst > self.ask_limit:
            with interruptible():
                answer = input(question_text(session.machine.title, price, seconds, worst))
            if not answer.strip().lower().startswith("y"):
                raise MachineError("not run. A shorter --timeout lowers the most it can cost; so does a smaller GPU.")
        self._agreed.add(session.machine)

    def _parse(self, text: str) -> Line:
        from modal_gpu_magic.line.parse import parse
        from modal_gpu_magic.plan.machine import Machine

        machines = [name for name, value in self.shell.user_ns.items() if isinstance(value, Machine)]
        return parse(text, machines=machines)

    def _choose(self, line: Line, front: Any) -> Line:
        """With `--model`, the line with the GPUs that are picked for it; what is picked, or too small, is said."""
        from modal_gpu_magic.plan.choice import choose

        held: Machine | None = self.shell.user_ns[line.machine] if line.machine else None
        choice = choose(line.options, held.gpus if held else line.specs)
        if choice.said:
            front.say(choice.said)
        return line if held and held.gpus else replace(line, specs=choice.specs)

    def _session(self, line: Line, front: Any) -> Session:
        """The session of the header, with the machine it asks for. A new machine is announced beforehand."""
        from modal_gpu_magic.plan.machine import differences
        from modal_gpu_magic.session.session import Session

        name = self._name(line)
        session = self.sessions.get(name)
        kind = self.kind_of_backend(line.options.backend, front)
        machine = self._machine(line, session)
        self._say_idling(line, machine, session.machine if session is not None else None, front)
        if session is not None and session.backend != kind:
            front.say(f"Session {name} goes on in the {kind} backend; its {session.backend} container ends.")
            session.stop()
        if session is None or session.backend != kind:
            session = self.sessions[name] = Session(machine, name, kind, self.shell.user_ns, self.shell.user_ns_hidden)
            session.cache = self.cache
            return session
        session.cache = self.cache
        replaced = session.is_open and (differences(session.machine, machine) or not session.builds_the_same(machine))
        if replaced:
            session.move(machine, front) if line.options.move else session.replace(machine, front)
        elif machine != session.machine:
            keep_warm_changed = machine.keep_warm != session.machine.keep_warm
            session.machine = machine
            if keep_warm_changed:
                session.keep_warm(machine.scaledown)
        return session

    def _say_idling(self, line: Line, machine: Machine, before: Machine | None, front: Any) -> None:
        """What the keep-warm of a header costs, where it is new."""
        from modal_gpu_magic.plan.machine import quote_of
        from modal_gpu_magic.plan.quote import idle_words

        if line.options.keep_warm is not None and (before is None or before.scaledown != machine.scaledown):
            price = quote_of(machine)
            front.say(f"{machine.title} stays {idle_words(price, machine.scaledown)} at Modal, prices of {price.date}.")

    def _rehearsal(self, line: Line, front: Any) -> Session:
        """The session as the header would have it, with nothing changed: no machine is replaced, none is remembered."""
        from modal_gpu_magic.plan.machine import differences
        from modal_gpu_magic.session.session import Session

        name = self._name(line)
        session, kind = self.sessions.get(name), self.kind_of_backend(line.options.backend, front)
        machine = self._machine(line, session)
        rehearsal = Session(machine, name, kind, self.shell.user_ns, self.shell.user_ns_hidden)
        if session is not None and session.backend == kind and not differences(session.machine, machine):
            rehearsal.values = session.values
        return rehearsal

    def _name(self, line: Line) -> str:
        """The session's. A cluster has one of its own beside, so that the variables of the other survive its cells."""
        held: Machine | None = self.shell.user_ns[line.machine] if line.machine else None
        nodes = line.options.nodes or (held.nodes if held else 1)
        return (line.options.session or self.current) + (CLUSTER if nodes > 1 else "")

    def _machine(self, line: Line, session: Session | None) -> Machine:
        from modal_gpu_magic.plan.machine import inherit

        session = session or self.sessions.get(line.options.session or self.current)
        base = session.machine if session is not None else None
        if line.machine is not None:
            base = self.shell.user_ns[line.machine]
        kind = getattr(sys.modules.get("modal"), "Image", None)  # a thread of ours may be importing it right now
        images = {n: v for n, v in self.shell.user_ns.items() if kind is not None and isinstance(v, kind)}
        return inherit(base, line, images, os.environ)

    def kind_of_backend(self, explicit: str | None, front: Any) -> Any:
        """Where cells run; `explicit` is a line's `--backend`. An automatic `local` is said once a kernel."""
        from modal_gpu_magic.sdk.client import choose, has_token

        choice = choose(explicit, self.backend, os.environ, token=lambda: has_token(os.environ))
        if choice.automatic and choice.kind == "local" and not self._said_local:
            self._said_local = True
            front.say(SAID_ONCE)
        return choice.kind

    def _cell(self, line: Line, body: str, session: Session) -> Cell:
        from modal_gpu_magic.plan.cell.texts import texts_of
        from modal_gpu_magic.plan.inplace import only_augmented
        from modal_gpu_magic.plan.names import analyse
        from modal_gpu_magic.session.cell import Cell
        from modal_gpu_magic.session.finding import find_files
        from modal_gpu_magic.session.needs import Needs, needs
        from modal_gpu_magic.session.values import Wishes
        from modal_gpu_magic.ui.kernel_facts import facts_of
        from modal_gpu_magic.ui.output import can_ask, cell_number

        options, kind = line.options, session.backend
        transform = self.shell.transform_cell
        names = analyse(body, transform, texts_of(self.shell.user_ns))
        # Locally the kernel's own packages stand for the image's: whatever the cell imports is there.
        left_out = tuple(options.no_in or ())
        found = find_files(body, transform, names, self.shell.user_ns, session.files, session.modules, left_out)
        names = replace(names, imports=names.imports | found.modules)
        needed = needs(names, self.shell.user_ns, session.modules, left_out) if kind == "cloud" else Needs()
        return Cell(
            source=_with_header(line.text, body),
            count=cell_number(self.shell),
            line=line,
            names=names,
            augmented=only_augmented(body, transform),
            wishes=Wishes(tuple(options.in_ or ()), left_out, options.send or SEND_BYTES[kind]),
            timeout=options.timeout or DEFAULT_TIMEOUT,
            fetch_bytes=options.fetch if options.fetch is not None else FETCH_BYTES[kind],
            fetch_names=tuple(options.out or ()),
            clean=bool(options.clean),
            files=found,
            stdin=can_ask(self.shell),
            imports=needed.imports,
            packages=needed.packages,
            spread=_spread(options, session.machine.nodes),
            kernel=facts_of(self.shell),
        )


def _spread(options: Options, nodes: int) -> Spread | None:
    """How the line wants the cell in ranks."""
    from modal_gpu_magic.wire.events import Spread

    if options.torchrun is None and nodes == 1:
        return None
    ranks = options.ranks or ()
    shown = None if "all" in ranks else frozenset(map(int, ranks))
    return Spread(options.torchrun is not None, options.torchrun or None, shown)


def _with_header(text: str, body: str) -> str:
    """The header as a comment, so that line numbers are the notebook's; a cell magic must stay the first line."""
    return body if body.lstrip().startswith("%%") else f"# %%{NAME} {text}\n{body}"
