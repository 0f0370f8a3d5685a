"""The magics `%%modal_gpu` and `%modal_gpu`: parse the header and run the cell in a session."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.catalog.nearest import nearest
from modal_gpu_magic.errors import LineError, MachineError, masked
from modal_gpu_magic.line.cell import HELP, split_cell
from modal_gpu_magic.line.misplaced import NAME, empty_cell, refusal_in, second_header
from modal_gpu_magic.session.run.error_frames import clear_frames
from modal_gpu_magic.session.run.interrupts import Presses, in_one_line, stopped, was_pressed

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from modal_gpu_magic.line.parse import Line
    from modal_gpu_magic.session.facade import Session
    from modal_gpu_magic.session.run.interrupts import Inbox
    from modal_gpu_magic.session.values.sync import CellResult
    from modal_gpu_magic.ui.fronts.shell import ShellFront
    from modal_gpu_magic.ui.magics.kernel_state import KernelState


class Magics:
    """The two magics of a kernel."""

    def __init__(self, state: KernelState) -> None:
        self.state = state

    def run_cell(self, text: str, body: str) -> None:
        """`%%modal_gpu [SPEC ...] [options]`: run the cell in the session's container.

        Raises:
            ModalGpuError: the header is wrong, a value cannot be sent, or the run was stopped or lost.
            Exception: the cell's own exception.
        """
        with in_one_line():
            from modal_gpu_magic.ui.widgets.shell_channel import answering

            if asks_for_help(text):
                from modal_gpu_magic.ui.magics.commands import user_help

                print(user_help())
                if body.strip():
                    print(f"\n{NOT_RUN}")
                return
            with answering(self.state.shell), Presses() as presses:
                outcome = self._run(text, body, presses.inbox)
        if outcome is not None and outcome.has_result and outcome.result is not None:
            hook: Any = self.state.shell.displayhook
            hook.update_user_ns(outcome.result)
        if was_pressed(presses.inbox):  # while its values were written here
            raise stopped("stopped after the cell had ended; the notebook has all values of the cell")

    def _run(self, text: str, body: str, inbox: Inbox) -> CellResult | None:
        from modal_gpu_magic.ui.fronts.choose import front_for
        from modal_gpu_magic.ui.fronts.upkeep import keep_true

        state = self.state
        line = state.parse(text)
        refuse_body(state, text, body)
        if line.options.bg and not line.options.service:
            from modal_gpu_magic.ui.magics import background_cell

            background_cell.start(state, line, body, inbox)
            return None
        quiet = state.settings.quiet or bool(line.options.quiet)
        settings = state.settings
        front = front_for(
            state.shell, quiet=quiet, dashboard=settings.dashboard, notify_after=settings.shortest_notified
        )
        front.records = settings.record
        line = state.choose(line, front)
        spending = state.spending(line, front)
        if not line.options.dry_run:
            state.connect_soon(line)
        if line.options.service:
            self._serve(line, body, front, inbox)
            return None
        if line.options.dry_run:
            from modal_gpu_magic.ui.magics.dry_run import show

            session = state.rehearsal(line, front)
            show(session, replace(state.cell_of(line, body, session), spending=spending))
            return None
        before = state.sessions.get(state.name_of(line))
        if before is not None:
            wait_for_turn(before, front, inbox)
        machine = before.machine if before is not None else None
        plan = state.plan(line, front, inbox)
        cell = replace(state.cell_of(line, body, plan.session), spending=spending)
        plan.refuse_invalid(cell, state.shell.transform_cell)
        state.agree(plan.machine, plan.session.backend, cell)
        plan.refuse_to_lose(cell)
        session = state.apply(plan, line, front, inbox)
        state.show(session)
        state.note_installs(body, front)
        state.note_budget(cell, front)
        try:
            return session.execute(cell, front, inbox)
        except BaseException as error:
            clear_frames(error)
            if isinstance(error, MachineError):
                session.fall_back(machine)
            raise
        finally:
            if front.card is not None:
                state.last = front
                keep_true(front, session)

    def _serve(self, line: Line, body: str, front: Any, inbox: Inbox) -> None:
        """Run a cell with `--service`: its machine inherits from the session's, and the session does not change."""
        from modal_gpu_magic.ui.magics import dry_run, service_cell

        state = self.state
        session = state.rehearsal(line, front)
        cell = state.cell_of(line, body, session)
        made = service_cell.make(state, line, cell, session)
        if line.options.dry_run:
            dry_run.show_service(made, session, cell)
        else:
            state.agree(session.machine, session.backend, cell)
            service_cell.start(state, made, front, inbox)

    def run_line(self, text: str) -> Any:
        """`%modal_gpu WORD ...`: run a command; without a word, show the picker, or the help in a terminal."""
        with in_one_line(STOPPED_COMMAND):
            return self._command(text)

    def _command(self, text: str) -> Any:
        from modal_gpu_magic.ui.magics.commands import ALONE, COMMANDS, MEANT, alone, unknown

        word, _, rest = text.strip().partition(" ")
        rest = rest.strip()
        if asks_for_help(text):
            word, rest = "help", ""
        command = COMMANDS.get(word or self._first_command())
        if command is not None:
            if word in ALONE and rest:
                raise LineError(alone(word, rest, is_machine=self._is_machine(rest)), text, len(word) + 1, len(text))
            return command(self.state, rest)
        if self._is_machine(text):
            self._note_native_code(text.strip())
            return COMMANDS["use"](self.state, text.strip())
        if word.lower() not in MEANT and lookup_like(word):
            self.state.parse(text)  # raises the error about the GPU
        raise LineError(unknown(word), text, 0, len(word))

    def _first_command(self) -> str:
        """Return what `%modal_gpu` alone does."""
        from modal_gpu_magic.ui.fronts.asking import can_ask

        has_page = getattr(self.state.shell, "kernel", None) is not None and can_ask(self.state.shell)
        return "picker" if has_page else "help"

    def _note_native_code(self, machine: str) -> None:
        """Say that the code below `%modal_gpu H100` runs in the notebook, if a cell begins with that line."""
        first, *code = [line for line in source_of(self.state.shell) if not line.lstrip().startswith("#")] or [""]
        if first.startswith(f"%{NAME}") and any(not line.startswith("%") for line in code):
            from modal_gpu_magic.ui.fronts.choose import front_for

            front_for(self.state.shell, quiet=self.state.settings.quiet).say(NATIVE.format(masked(machine)))

    def _is_machine(self, text: str) -> bool:
        """Whether a line names a machine, as `%modal_gpu H100:2` does, which means `use`."""
        try:
            line = self.state.parse(text)
        except LineError:
            return False
        return bool(line.specs or line.machine)


def wait_for_turn(session: Session, front: ShellFront, inbox: Inbox) -> None:
    """Wait for the background cells of a session.

    Raises:
        KeyboardInterrupt: ■ was pressed; the cell does not run.
    """
    try:
        session.backlog.wait(front, inbox)
    except KeyboardInterrupt:
        front.broke_off("stopped")
        raise


STOPPED_COMMAND = "the command was stopped; what it had done by then stays done"
NOT_RUN = "The cell did not run; remove the word that asks for help to run it."
NATIVE = (
    "This cell runs in the notebook's kernel: `%modal_gpu {0}` chooses the GPU of later cells. "
    "Write `%%modal_gpu {0}` to run this cell on the GPU."
)


def asks_for_help(text: str) -> bool:
    """Whether a word of a line asks for the help."""
    return not HELP.isdisjoint(text.split())


def refuse_body(state: KernelState, text: str, body: str) -> None:
    """Refuse a cell without code, and one with a second header.

    Raises:
        LineError: the sentence that says what to do.
    """
    if not body.strip():
        raise empty_cell(text.strip())
    if f"%%{NAME}" not in body:
        return
    if (second := split_cell(body)) is not None:
        raise second_header(second.line)
    error = refusal_in(state.shell.transform_cell(body), lambda _: True)
    if error is not None:
        raise error


def source_of(shell: InteractiveShell) -> list[str]:
    """Return the lines with text of the cell that runs, as typed."""
    history: Any = shell.history_manager
    typed = history.input_hist_raw if history is not None else [""]
    return [line for line in str(typed[-1]).splitlines() if line.strip()]


def lookup_like(word: str) -> bool:
    """Whether a word was probably meant for a GPU: `H100x2`, `H100:9`, `V100`, `500GB`."""
    from modal_gpu_magic.catalog.gpus import GPUS

    has_number = any(letter.isdigit() for letter in word) and "(" not in word  # `print(1)` is code
    return has_number or bool(nearest(word, GPUS))
