"""The magics `%%modal_gpu` and `%modal_gpu`: parse the header and run the cell in a session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modal_gpu_magic.errors import LineError, MachineError
from modal_gpu_magic.session.run.error_frames import clear_frames
from modal_gpu_magic.session.run.interrupts import Presses, in_one_line, stopped, was_pressed

if TYPE_CHECKING:
    from modal_gpu_magic.line.parse import Line
    from modal_gpu_magic.session.run.interrupts import Inbox
    from modal_gpu_magic.session.values.sync import CellResult
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
        from modal_gpu_magic.ui.widgets.shell_channel import answering

        try:
            with answering(self.state.shell), Presses() as presses:
                outcome = self._run(text, body, presses.inbox)
        except KeyboardInterrupt as error:
            raise in_one_line(error) from None
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
        quiet = state.settings.quiet or bool(line.options.quiet)
        front = front_for(state.shell, quiet=quiet, dashboard=state.settings.dashboard)
        line = state.choose(line, front)
        if line.options.service:
            self._serve(line, body, front, inbox)
            return None
        if line.options.dry_run:
            from modal_gpu_magic.ui.magics.dry_run import show

            session = state.rehearsal(line, front)
            show(session, state.cell_of(line, body, session))
            return None
        before = state.sessions.get(state.name_of(line))
        machine = before.machine if before is not None else None
        session = state.session_for(line, front)
        state.show(session)
        cell = state.cell_of(line, body, session)
        state.agree(session, cell)
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
            state.agree(session, cell)
            service_cell.start(state, made, front, inbox)

    def run_line(self, text: str) -> Any:
        """`%modal_gpu [picker] | use | gpus | recommend | put | get | ls | status | last | metrics | stop | help`."""
        from modal_gpu_magic.ui.fronts.asking import can_ask
        from modal_gpu_magic.ui.magics.commands import COMMANDS, unknown

        word, _, rest = text.strip().partition(" ")
        has_page = getattr(self.state.shell, "kernel", None) is not None and can_ask(self.state.shell)
        command = COMMANDS.get(word or ("picker" if has_page else "help"))
        if command is not None:
            return command(self.state, rest.strip())
        if self._is_machine(text):
            return COMMANDS["use"](self.state, text.strip())
        raise LineError(unknown(word), text, 0, len(word))

    def _is_machine(self, text: str) -> bool:
        """Whether a line names a machine, as `%modal_gpu H100:2` does, which means `use`."""
        try:
            line = self.state.parse(text)
        except LineError:
            return False
        return bool(line.specs or line.machine)
