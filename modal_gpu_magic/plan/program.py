"""The text of `--dry-run`: the Modal program that is equivalent to a cell. Pure."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from modal_gpu_magic.plan.cell.cellsource import parse_cell
from modal_gpu_magic.plan.machine.layers import base, layers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modal_gpu_magic.plan.machine.definition import Machine
    from modal_gpu_magic.plan.machine.layers import Versions

_TEMPLATE = """\
import modal

app = modal.App()
image = {image}


@app.function({arguments})
{clustered}{kind} cell({reads}):
{body}
    return {{{returns}}}


with app.run():
    values = cell.remote({reads})
"""


def program(
    machine: Machine,
    source: str,
    reads: Sequence[str],
    binds: Sequence[str],
    timeout: float | None,
    pip: Sequence[str],
    versions: Versions,
) -> str:
    """Return the equivalent program: machine as decorator arguments, names read as parameters, names bound returned.

    Unlike the program, a session keeps its container and its variables between cells.

    Args:
        machine: the session's machine.
        source: source of the cell, with IPython's syntax.
        reads: names that are sent.
        binds: names that are returned.
        timeout: time limit in seconds; None: Modal's default.
        pip: packages of the image in addition to the machine's own.
        versions: returns the notebook's version of a distribution.
    """
    arguments = f"{arguments_text(machine, timeout)}, startup_timeout={machine.startup}"
    body = textwrap.indent(source.strip() or "pass", "    ")
    returns = ", ".join(f'"{name}": {name}' for name in binds)
    return _TEMPLATE.format(
        image=image_text(machine, pip, versions),
        arguments=arguments,
        clustered=f"@modal.clustered(size={machine.nodes}, rdma={machine.rdma})\n" if machine.nodes > 1 else "",
        kind="async def" if awaits(source) else "def",
        reads=", ".join(reads),
        body=body,
        returns=returns,
    )


def awaits(source: str) -> bool:
    """Whether the cell has a top-level `await`, which needs `async def`."""
    tree = parse_cell(source)
    if tree is None:
        return False
    try:
        compile(tree, "<cell>", "exec", dont_inherit=True)
    except SyntaxError:
        return True
    return False


def arguments_text(machine: Machine, timeout: float | None) -> str:
    """Return a machine as the arguments of `app.function` or `app.cls`."""
    return ", ".join(f"{name}={value}" for name, value in _arguments(machine, timeout))


def _arguments(machine: Machine, timeout: float | None) -> list[tuple[str, str]]:
    volumes = ", ".join(
        f'"{path}": modal.Volume.from_name("{name}", create_if_missing=True)' for name, path in machine.volumes
    )
    secrets = ", ".join(f'modal.Secret.from_name("{name}")' for name in machine.secrets)
    pairs: list[tuple[str, object]] = [
        ("gpu", repr(machine.gpu_argument) if machine.gpus else None),
        ("image", "image"),
        ("timeout", f"{timeout:g}" if timeout else None),
        ("scaledown_window", machine.scaledown),
        ("volumes", f"{{{volumes}}}" if volumes else None),
        ("secrets", f"[{secrets}]" if secrets else None),
        ("cpu", machine.cpu),
        ("memory", machine.memory),
        ("region", repr(machine.region) if machine.region else None),
    ]
    return [(name, str(value)) for name, value in pairs if value is not None]


def image_text(machine: Machine, pip: Sequence[str], versions: Versions) -> str:
    """Return the image as a chain of calls; `pip` are packages in addition to the machine's own."""
    start = "" if machine.image.startswith("variable:") else "modal.Image"
    steps = (*base(machine, pip, versions), *layers(machine, pip, versions))
    return (start or machine.image.partition(":")[2]) + "".join(map(str, steps))
