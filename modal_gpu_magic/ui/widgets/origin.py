"""The page and the notebook cell that a run or a picker comes from, by the cell's request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


@dataclass(frozen=True, slots=True)
class Origin:
    """Page and cell of a run; a field is empty if the request does not have it.

    Attributes:
        client: id of the page's connection to the kernel; another page has another id.
        cell: id of the cell in the notebook.
        code: source of the cell.
    """

    client: str = ""
    cell: str = ""
    code: str = ""

    @classmethod
    def of(cls, shell: InteractiveShell) -> Origin:
        """Return the origin of the running cell."""
        parent: dict[str, Any] = shell.get_parent() if hasattr(shell, "get_parent") else {}
        client, cell = parent.get("header", {}).get("session"), parent.get("metadata", {}).get("cellId")
        code = parent.get("content", {}).get("code")
        return cls(str(client or ""), str(cell or ""), str(code or ""))
