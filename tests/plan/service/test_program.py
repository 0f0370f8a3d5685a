"""`--dry-run` of a service: a program that compiles, with everything that is said of the service in it."""

from __future__ import annotations

import ast

import pytest

from modal_gpu_magic import Machine
from modal_gpu_magic.plan.cell.cellsource import tree_of
from modal_gpu_magic.plan.service.program import service_program
from modal_gpu_magic.plan.service.serving import Serving, methods_of_cell

BATCHED = "model = load(path)\n@batched(32, wait_ms=100)\nasync def predict(texts):\n    return model(texts)\n"
SEVERAL = (
    "def one(x, *, k=1): return x\ndef many(n): yield n\nasync def ticks(*a, **b):\n    yield 1\ndef none(): ...\n"
)


def program(source: str, **options: int) -> str:
    """What a dry run of a cell prints."""
    methods, helpers = methods_of_cell(tree_of(source), None)
    serving = Serving(methods, helpers, timeout=60, **options)
    machine = Machine.of("L40S", keep_warm=300)
    return service_program(
        machine, serving, "embed", source, ["path"], ["model", methods[0].name], ["einops"], lambda _: None
    )


def test_the_reference_s_service() -> None:
    text = program(BATCHED)
    for part in (
        "@app.cls(gpu='L40S', image=image, timeout=60, scaledown_window=300, startup_timeout=3600)\nclass embed:",
        "    @modal.enter()\n    def start(self):\n        global model, predict\n        model = load(path)",
        "    @modal.batched(max_batch_size=32, wait_ms=100)\n    async def predict(self, texts):\n"
        "        return await predict(texts)",
        "path = ...  # sent from the notebook",
        "'einops'",
    ):
        assert part in text
    assert "@batched" not in text


@pytest.mark.parametrize("source", [BATCHED, SEVERAL, "await x\ndef f(): ..."])
def test_it_compiles(source: str) -> None:
    ast.parse(program(source, min_containers=1, max_containers=3, concurrent=4))


def test_methods_pass_on_what_they_get() -> None:
    text = program(SEVERAL, max_containers=3, concurrent=4)
    for part in (
        "max_containers=3)\n@modal.concurrent(max_inputs=4)\nclass embed:",
        "def one(self, x, *, k=1):\n        return one(x, k=k)",
        "def many(self, n):\n        yield from many(n)",
        "async def ticks(self, *a, **b):\n        async for item in ticks(*a, **b):\n            yield item",
        "def none(self):\n        return none()",
    ):
        assert part in text
