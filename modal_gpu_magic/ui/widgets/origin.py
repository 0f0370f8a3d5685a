"""Where a cell was run from: the page and the cell in its notebook, as the cell's request names them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a cell was run from, as its request says; empty where it does not.

    Attributes:
        client: the page's connection to the kernel: another one is another page.
        cell: the cell's id in the notebook.
    """

    client: str = ""
    cell: str = ""

    @classmethod
    def of(cls, shell: InteractiveShell) -> Origin:
        """Of the cell that runs now."""
        parent: dict[str, Any] = shell.get_parent() if hasattr(shell, "get_parent") else {}
        client, cell = parent.get("header", {}).get("session"), parent.get("metadata", {}).get("cellId")
        return cls(str(client or ""), str(cell or ""))
