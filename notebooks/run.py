"""Run a notebook headless on the local backend: `python notebooks/run.py notebooks/01-first-cell.ipynb`.

Prints each cell's source and, as it comes, what the cell shows; receipts follow at the cell's end. Exits with 1 if a
cell failed. The notebook's file is not changed, unless `--save` asks for it: `--save` writes the outputs into the
notebook, `--save=FILE` into another file.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

if TYPE_CHECKING:
    from nbformat import NotebookNode

OURS = "modal_gpu"
"""The metadata key on outputs of the magic's own: its status line, replaced in place by the receipt."""

WIDGET: Final = "application/vnd.jupyter.widget-view+json"
"""A widget as an output: nothing shows the widget without the kernel that made it."""

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


def main(path: Path, target: Path | None = None) -> int:
    """Run the notebook at `path`; write it with its outputs to `target`, if given. Returns the exit status."""
    os.environ["MODAL_GPU_BACKEND"] = "local"
    try:
        try:
            ran = _client(path).execute()
        except DeadKernelError:
            raise
        except RuntimeError:  # its kernel did not start: another program was faster at the port that was free
            ran = _client(path).execute()
    except CellExecutionError as error:
        print(f"\n{path.name}: a cell failed: {error.ename}: {error.evalue}", file=sys.stderr)
        return 1
    print(f"\n{path.name}: every cell ran.")
    if target is not None:
        save(ran, nbformat.read(path, as_version=4), target)
    return 0


def save(ran: NotebookNode, source: NotebookNode, target: Path) -> None:
    """Write a notebook with the outputs of its run, and without what only a live kernel could show."""
    for cell, done in zip(source.cells, ran.cells, strict=True):
        if cell.cell_type == "code":
            cell.execution_count = done.execution_count
            cell.outputs = [kept for output in done.outputs if (kept := _still(output)) is not None]
    nbformat.write(source, target)


def _still(output: NotebookNode) -> NotebookNode | None:
    """Return an output that shows in a file; None: a live widget alone."""
    if WIDGET in output.get("data", {}):
        del output.data[WIDGET]
        return output if output.data.keys() - {"text/plain"} else None
    return output


def _client(path: Path) -> PrintingClient:
    return PrintingClient(
        nbformat.read(path, as_version=4),
        timeout=600,
        coalesce_streams=True,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        extra_arguments=["--log-level=ERROR"],  # ipykernel warns that its own sockets are not encrypted
        on_cell_execute=_begin,
        on_cell_executed=_end,
    )


def read_command(words: list[str]) -> tuple[Path, Path | None]:
    """Return the notebook's path, and the file for its outputs, if any is asked for."""
    options = [word for word in words if word.startswith("--save")]
    path = Path(next(word for word in words if word not in options))
    named = [option.partition("=")[2] for option in options]
    return path, (Path(named[0]) if named[0] else path) if named else None


if __name__ == "__main__":
    sys.exit(main(*read_command(sys.argv[1:])))
