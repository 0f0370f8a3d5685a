"""What the magics of one kernel share: sessions, services, settings, and what a line means for them. No magic here."""

from __future__ import annotations

import os
import sys
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from traitlets import Bool, Enum, Float
from traitlets.config import Configurable

from modal_gpu_magic.catalog.limits import FUNCTION_TIMEOUT
from modal_gpu_magic.errors import MachineError
from modal_gpu_magic.session.run.interrupts import interruptible

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from modal_gpu_magic.line.options import Options
    from modal_gpu_magic.line.parse import Line
    from modal_gpu_magic.plan.machine.definition import Machine
    from modal_gpu_magic.session.facade import Session
    from modal_gpu_magic.session.run.cell import Cell
    from modal_gpu_magic.session.service.facade import Service
    from modal_gpu_magic.ui.fronts.shell import ShellFront
    from modal_gpu_magic.ui.widgets.picker import GpuPicker
    from modal_gpu_magic.wire.messages.events import Spread

NAME = "modal_gpu"
FETCH_BYTES = {"cloud": 16_000_000, "local": 256_000_000}
SEND_BYTES = {"cloud": 2_000_000_000, "local": 16_000_000_000}
DEFAULT_TIMEOUT = 3600.0
CLUSTER = ".cluster"
"""Behind a session's name: the one of its cells that run on a cluster."""
SAID_ONCE = (
    "No Modal token is configured, so cells run on the local backend: on this machine's CPU, GPUs simulated. "
    "`modal setup` in a terminal connects to Modal."
)


class ModalGpu(Configurable):
    """The settings of this kernel: `%config ModalGpu`."""

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


class KernelState:
    """What lasts between the lines and cells of one kernel.

    Attributes:
        settings: what `%config ModalGpu` shows and sets.
        sessions: the sessions, by name.
        services: the services, by name.
        current: the name of the session of a header that names none.
        last: the front of the last cell, which `%modal_gpu last` shows again.
        pickers: the pickers that show a session.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self.shell, self.settings = shell, ModalGpu(parent=shell)
        self.sessions: dict[str, Session] = {}
        self.services: dict[str, Service] = {}
        self.current = "default"
        self.last: ShellFront | None = None
        self.pickers: weakref.WeakSet[GpuPicker] = weakref.WeakSet()
        self._said_local = False
        self._agreed: set[Machine] = set()

    def show(self, session: Session) -> None:
        """The pickers show this session from now on."""
        for picker in self.pickers:
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

    def agree(self, session: Session, cell: Cell) -> None:
        """Ask before a machine that may cost much, once, and only where someone can answer.

        Raises:
            MachineError: the answer was no.
        """
        from modal_gpu_magic.ui.fronts.receipt import question_text

        price, seconds = session.machine.per_hour, cell.timeout or FUNCTION_TIMEOUT
        worst = None if price is None else price * seconds / 3600
        if session.backend != "cloud" or session.machine in self._agreed or not cell.stdin:
            return
        if worst is not None and worst > self.settings.ask_limit:
            with interruptible():
                answer = input(question_text(session.machine.title, price, seconds, worst))
            if not answer.strip().lower().startswith("y"):
                raise MachineError("not run. A shorter --timeout lowers the most it can cost; so does a smaller GPU.")
        self._agreed.add(session.machine)

    def parse(self, text: str) -> Line:
        """Read a line; names of machines in it are those of the notebook's variables.

        Raises:
            LineError: the line is wrong.
        """
        from modal_gpu_magic.line.parse import parse
        from modal_gpu_magic.plan.machine.definition import Machine
        from modal_gpu_magic.wire.values.referenced_globals import is_name

        machines = [name for name, value in self.shell.user_ns.items() if is_name(name) and isinstance(value, Machine)]
        return parse(text, machines=machines)

    def choose(self, line: Line, front: Any) -> Line:
        """With `--model`, the line with the GPUs that are picked for it; what is picked, or too small, is said."""
        from modal_gpu_magic.plan.machine.choice import choose

        held: Machine | None = self.shell.user_ns[line.machine] if line.machine else None
        choice = choose(line.options, held.gpus if held else line.specs)
        if choice.said:
            front.say(choice.said)
        return line if held and held.gpus else replace(line, specs=choice.specs)

    def session_for(self, line: Line, front: Any) -> Session:
        """The session of the header, with the machine it asks for. A new machine is announced beforehand."""
        from modal_gpu_magic.plan.machine.definition import differences
        from modal_gpu_magic.session.facade import Session

        name = self.name_of(line)
        session = self.sessions.get(name)
        kind = self.kind_of_backend(line.options.backend, front)
        machine = self._machine(line, session)
        self._say_idling(line, machine, session.machine if session is not None else None, front)
        if session is not None and session.backend != kind:
            front.say(f"Session {name} goes on in the {kind} backend; its {session.backend} container ends.")
            session.stop()
        if session is None or session.backend != kind:
            session = self.sessions[name] = Session(machine, name, kind, self.shell.user_ns, self.shell.user_ns_hidden)
            session.cache = self.settings.cache
            return session
        session.cache = self.settings.cache
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
        from modal_gpu_magic.plan.machine.definition import quote_of
        from modal_gpu_magic.plan.machine.quote import idle_words

        if line.options.keep_warm is not None and (before is None or before.scaledown != machine.scaledown):
            price = quote_of(machine)
            front.say(f"{machine.title} stays {idle_words(price, machine.scaledown)} at Modal, prices of {price.date}.")

    def rehearsal(self, line: Line, front: Any) -> Session:
        """The session as the header would have it, with nothing changed: no machine is replaced, none is remembered."""
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
        """The session's. A cluster has one of its own beside, so that the variables of the other survive its cells."""
        held: Machine | None = self.shell.user_ns[line.machine] if line.machine else None
        nodes = line.options.nodes or (held.nodes if held else 1)
        return (line.options.session or self.current) + (CLUSTER if nodes > 1 else "")

    def _machine(self, line: Line, session: Session | None) -> Machine:
        from modal_gpu_magic.plan.machine.definition import inherit

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

        choice = choose(explicit, self.settings.backend, os.environ, token=lambda: has_token(os.environ))
        if choice.automatic and choice.kind == "local" and not self._said_local:
            self._said_local = True
            front.say(SAID_ONCE)
        return choice.kind

    def cell_of(self, line: Line, body: str, session: Session) -> Cell:
        """The cell as the session runs it: what its text needs, and what its header says."""
        from modal_gpu_magic.plan.cell.inplace import only_augmented
        from modal_gpu_magic.plan.cell.names import analyse
        from modal_gpu_magic.plan.cell.texts import texts_of
        from modal_gpu_magic.session.project.needs import Needs, needs
        from modal_gpu_magic.session.project.referenced_files import find_files
        from modal_gpu_magic.session.run.cell import Cell
        from modal_gpu_magic.session.values.sync import Wishes
        from modal_gpu_magic.ui.fronts.asking import can_ask
        from modal_gpu_magic.ui.fronts.shell import cell_number
        from modal_gpu_magic.ui.magics.kernel_facts import facts_of

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
    from modal_gpu_magic.wire.messages.events import Spread

    if options.torchrun is None and nodes == 1:
        return None
    ranks = options.ranks or ()
    shown = None if "all" in ranks else frozenset(map(int, ranks))
    return Spread(options.torchrun is not None, options.torchrun or None, shown)


def _with_header(text: str, body: str) -> str:
    """The header as a comment, so that line numbers are the notebook's; a cell magic must stay the first line."""
    return body if body.lstrip().startswith("%%") else f"# %%{NAME} {text}\n{body}"
