"""All that the text of a cell says, read once: `read(source)`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modal_gpu_magic.plan.cell.import_statements import import_statements
from modal_gpu_magic.plan.cell.inplace import only_augmented
from modal_gpu_magic.plan.cell.names import Names, analyse
from modal_gpu_magic.wire.values.imports import Import

if TYPE_CHECKING:
    from modal_gpu_magic.plan.cell.cellsource import Transform
    from modal_gpu_magic.plan.cell.texts import TextOf


@dataclass(frozen=True, slots=True)
class CellFacts:
    """What the text of a cell says.

    Attributes:
        names: names of the notebook that the cell reads, binds, deletes, imports and may change.
        augmented: names that the cell binds by augmented assignment alone (`v += 1`).
        import_statements: by the name bound, the import statements at the cell's top level.
    """

    names: Names = field(default_factory=Names)
    augmented: frozenset[str] = frozenset()
    import_statements: Mapping[str, tuple[Import, ...]] = field(default_factory=dict)


def read(source: str, transform: Transform | None = None, text_of: TextOf | None = None) -> CellFacts:
    """Read a cell. Never raises, whatever the text.

    Args:
        source: the cell as typed, without the magic's line.
        transform: turns the cell into Python (`shell.transform_cell`); None: IPython's default.
        text_of: returns the text that a global name has now, for cells such as `exec(code)`; None: no text is known.
    """
    return CellFacts(
        names=analyse(source, transform, text_of),
        augmented=only_augmented(source, transform),
        import_statements=import_statements(source, transform),
    )
