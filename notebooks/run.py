"""Run a notebook headless on the local backend: `python notebooks/run.py notebooks/01-first-cell.ipynb`.

Prints each cell's source and, as it comes, what the cell shows; receipts follow at the cell's end. Exits with 1 if a
cell failed. The notebook's file is not changed.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

if TYPE_CHECKING:
    from nbformat import NotebookNode

OURS = "modal_gpu"
"""The metadata key on outputs of the magic's own: its status line, replaced in place by the receipt."""

ANSI = re.compile(r"\x1b\[[\d;]*m")


class PrintingClient(NotebookClient):
    """Executes a notebook and prints what its cells show, as they show it."""

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> NotebookNode | None:
        """One message of a cell: nbclient keeps it in the notebook, we print it."""
        _show(msg["content"])
        kept: NotebookNode | None = super().process_message(msg, cell, cell_index)
        return kept


def _show(content: dict[str, Any]) -> None:
    if OURS in content.get("metadata", {}):
        return
    if "traceback" in content:
        print(ANSI.sub("", "\n".join(content["traceback"])))
    elif "text" in content:
        print(content["text"], end="", flush=True)
    elif "data" in content:
        print(_as_text(content["data"]))


def _as_text(bundle: dict[str, Any]) -> str:
    text = str(bundle.get("text/plain", ""))
    images = [f"[{kind}]" for kind in bundle if kind.startswith("image/")]
    return " ".join([*images, text])


def _begin(cell: NotebookNode, **_: Any) -> None:
    print("\n" + "\n".join(f">>> {line}" for line in cell.source.splitlines()), flush=True)


def _end(cell: NotebookNode, **_: Any) -> None:
    for output in cell.get("outputs", ()):
        if OURS in output.get("metadata", {}):
            print(_as_text(output.data), flush=True)


def main(path: Path) -> int:
    """Run the notebook at `path`; returns the exit status."""
    os.environ["MODAL_GPU_BACKEND"] = "local"
    try:
        try:
            _client(path).execute()
        except DeadKernelError:
            raise
        except RuntimeError:  # its kernel did not start: another program was faster at the port that was free
            _client(path).execute()
    except CellExecutionError as error:
        print(f"\n{path.name}: a cell failed: {error.ename}: {error.evalue}", file=sys.stderr)
        return 1
    print(f"\n{path.name}: every cell ran.")
    return 0


def _client(path: Path) -> PrintingClient:
    return PrintingClient(
        nbformat.read(path, as_version=4),
        timeout=600,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--log-level=ERROR"],  # ipykernel warns that its own sockets are not encrypted
        on_cell_execute=_begin,
        on_cell_executed=_end,
    )


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
