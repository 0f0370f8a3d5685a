"""What a header makes of a session. Nothing changes until the plan is applied: the user may decline the price."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modal_gpu_magic.errors import LostValueError
from modal_gpu_magic.plan.cell.cellsource import tree_of
from modal_gpu_magic.plan.machine.definition import Machine
from modal_gpu_magic.session.facade import Session

if TYPE_CHECKING:
    from modal_gpu_magic.plan.cell.cellsource import Transform
    from modal_gpu_magic.session.run.cell import Cell


@dataclass(frozen=True, slots=True)
class PlannedSession:
    """A session and the machine that a header gives it.

    Attributes:
        session: the session, which has its present machine until the plan is applied.
        machine: the machine of the header.
        is_new: whether the kernel does not have the session yet.
        former: the session of this name on the other backend, which ends; None: no session ends.
        replaces: whether the container of another machine ends.
        carries: whether the values go to the new container (`--move`).
    """

    session: Session
    machine: Machine
    is_new: bool = False
    former: Session | None = None
    replaces: bool = False
    carries: bool = False

    def refuse_invalid(self, cell: Cell, transform: Transform) -> None:
        """Refuse a cell that is no valid Python, if containers or ranks would start for it.

        A container that runs may have transformers of its own, and starting a cell there costs next to nothing.

        Raises:
            SyntaxError: Python's own, with the line.
        """
        starts = self.replaces or cell.distributed is not None or not self.session.is_open
        if cell.names.syntax_ok or not starts:
            return
        try:
            tree_of(cell.source, transform)
        except SyntaxError:
            raise
        except Exception:  # noqa: BLE001 - of a user's transformer, which raises it again when the cell runs
            return

    def refuse_to_lose(self, cell: Cell) -> None:
        """Refuse a cell that reads values which its own header ends.

        Raises:
            LostValueError: the cell reads such values; the message has the ways out.
        """
        ending = self.former or (self.session if self.replaces and not self.carries else None)
        if ending is None:
            return
        names = sorted((cell.names.reads - cell.names.maybe).intersection(ending.values.remote_names()))
        if not names:
            return
        title, first = ending.machine.title, names[0]
        keeps = "" if self.former else "--move carries values over, --session NAME keeps both machines; or "
        raise LostValueError(
            f"the cell reads {', '.join(names)}, which only the container of {title} has, and this header ends that "
            f"container: {keeps}run {first} = {first}.fetch() first."
        )
