"""The text of `--dry-run` for a service: the equivalent Modal class. Pure."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

from modal_gpu_magic.plan.program import arguments_text, awaits, image_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modal_gpu_magic.plan.machine.definition import Machine
    from modal_gpu_magic.plan.machine.layers import Versions
    from modal_gpu_magic.plan.service.serving import Method, Serving

_TEMPLATE = """\
import modal

app = modal.App()
image = {image}
{values}

@app.cls({arguments})
{concurrent}class {name}:
    @modal.enter()
    {kind} start(self):
        global {binds}
{body}
{methods}

with app.run():
    service = {name}()
"""
_BODIES = {
    "function": "def {name}{signature}:\n    return {call}",
    "coroutine": "async def {name}{signature}:\n    return await {call}",
    "generator": "def {name}{signature}:\n    yield from {call}",
    "async generator": "async def {name}{signature}:\n    async for item in {call}:\n        yield item",
}


def service_program(
    machine: Machine,
    serving: Serving,
    name: str,
    source: str,
    reads: Sequence[str],
    binds: Sequence[str],
    pip: Sequence[str],
    versions: Versions,
) -> str:
    """Return the equivalent program: the cell as the class's `enter`, functions as methods, names read as globals.

    Args:
        machine: machine of the service.
        serving: settings of the service.
        name: name of the service.
        source: source of the cell, with IPython's syntax.
        reads: names that are sent.
        binds: names that the cell binds.
        pip: packages of the image in addition to the machine's own.
        versions: returns the notebook's version of a distribution.
    """
    more = [
        ("startup_timeout", serving.startup_timeout if serving.startup_timeout > serving.timeout else None),
        ("min_containers", serving.min_containers),
        ("max_containers", serving.max_containers),
    ]
    arguments = [arguments_text(machine, serving.timeout), *(f"{key}={n}" for key, n in more if n is not None)]
    cell = re.sub(r"(?m)^@(\w+\.)?batched\(.*\)\n", "", source).strip()
    return _TEMPLATE.format(
        image=image_text(machine, pip, versions),
        values="".join(f"{each} = ...  # sent from the notebook\n" for each in reads),
        arguments=", ".join(arguments),
        concurrent=f"@modal.concurrent(max_inputs={serving.concurrent})\n" if serving.concurrent else "",
        name=name,
        kind="async def" if awaits(source) else "def",
        binds=", ".join(binds),
        body=textwrap.indent(cell, " " * 8),
        methods="".join(_method(method) for method in serving.methods),
    )


def _method(method: Method) -> str:
    decorator = "modal.method()"
    if method.batch:
        decorator = f"modal.batched(max_batch_size={method.batch.size}, wait_ms={method.batch.wait_ms})"
    parameters = method.signature.parameters.values()
    stars = {method.signature.empty: "", "VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}
    given = [
        f"{each.name}={each.name}" if each.kind is each.KEYWORD_ONLY else f"{stars.get(each.kind.name, '')}{each.name}"
        for each in parameters
    ]
    signature = re.sub(r"^\((?=.)", "(self, ", str(method.signature)).replace("(self, )", "(self)")
    call = f"{method.name}({', '.join(given)})"
    text = _BODIES[method.kind].format(name=method.name, signature=signature, call=call)
    return textwrap.indent(f"\n@{decorator}\n{text}\n", " " * 4)
