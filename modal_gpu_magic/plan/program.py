"""`--dry-run`: the hand-written Modal program that a cell is packaged as, as text. Pure."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modal_gpu_magic.plan.machine import Machine

_TEMPLATE = """\
import modal

app = modal.App()
image = {image}


@app.function({arguments})
def cell({reads}):
{body}
    return {{{returns}}}


with app.run():
    values = cell.remote({reads})
"""


def program(
    machine: Machine, source: str, reads: Sequence[str], binds: Sequence[str], timeout: float | None, pip: Sequence[str]
) -> str:
    """The equivalent program: the machine as the decorator's arguments, names read as parameters, names bound returned.

    It shows what is sent; unlike it, a session keeps its container and its variables between cells.
    """
    arguments = ", ".join(f"{name}={value}" for name, value in _arguments(machine, timeout))
    body = textwrap.indent(source.strip() or "pass", "    ")
    returns = ", ".join(f'"{name}": {name}' for name in binds)
    return _TEMPLATE.format(
        image=_image(machine, pip), arguments=arguments, reads=", ".join(reads), body=body, returns=returns
    )


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


def _image(machine: Machine, pip: Sequence[str]) -> str:
    if machine.image.startswith("variable:"):
        text = machine.image.partition(":")[2]
    elif "/" in machine.image or ":" in machine.image:
        text = f'modal.Image.from_registry("{machine.image}", add_python="3").entrypoint([])'
    else:
        text = "modal.Image.debian_slim()"
    steps = [
        ("apt_install", machine.apt),
        ("pip_install", tuple(pip)),
        ("run_commands", machine.run),
    ]
    for method, words in steps:
        if words:
            text += f".{method}({', '.join(repr(word) for word in words)})"
    if machine.env:
        text += f".env({{{', '.join(f'{key!r}: ...' for key, _ in machine.env)}}})"
    return text
