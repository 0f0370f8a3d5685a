"""Which functions of a cell become methods, how they are batched, and what is refused before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from modal_gpu_magic import batched
from modal_gpu_magic.errors import ServiceError
from modal_gpu_magic.plan.cell.cellsource import tree_of
from modal_gpu_magic.plan.service.serving import Method, Serving, methods_of, methods_of_cell
from modal_gpu_magic.wire.messages.batching import Batch

CELL = """
import torch
model = torch.nn.Linear(2, 2)

class Point: ...

def predict(x, *rest, k=model, **more):
    "What it does."
    return [each for each in rest]

async def slow(x, /, y: int = 2 + 3) -> int:
    def inner():
        yield 1
    return x

def count(n):
    while True:
        n = yield n

async def tick():
    yield 1

def _hidden(): ...
if model:
    def sometimes(): ...
"""


def served(source: str, given: Batch | None = None) -> tuple[tuple[Method, ...], tuple[str, ...]]:
    """The methods and helpers of a cell."""
    return methods_of_cell(tree_of(source), given)


def test_top_level_functions_become_methods() -> None:
    methods, helpers = served(CELL)
    assert [(each.name, each.kind) for each in methods] == [
        ("predict", "function"),
        ("slow", "coroutine"),
        ("count", "generator"),
        ("tick", "async generator"),
    ]
    assert helpers == ()
    assert [str(each) for each in methods] == [
        "predict(x, *rest, k=model, **more)",
        "slow(x, /, y=2 + 3)",
        "count(n)",
        "tick()",
    ]
    assert methods[0].doc == "What it does."


@pytest.mark.parametrize(
    "mark, batch",
    [
        ("@batched(32)", Batch(32, 100)),
        ("@batched(32, wait_ms=5)", Batch(32, 5)),
        ("@batched(32, 5)", Batch(32, 5)),
        ("@batched(max_batch_size=8, wait_ms=0)", Batch(8, 0)),
        ("@mgm.batched(8)", Batch(8)),
        ("@other.thing\n@batched(8)", Batch(8)),
    ],
)
def test_a_marked_function_is_the_one_method(mark: str, batch: Batch) -> None:
    methods, helpers = served(f"def clean(x): ...\n{mark}\ndef predict(xs): ...\n")
    assert [(each.name, each.batch) for each in methods] == [("predict", batch)]
    assert helpers == ("clean",)


def test_the_header_batches_the_only_function() -> None:
    (method,), _ = served("def predict(xs, ys): ...\ndef _clean(): ...", Batch(32, 10))
    assert str(method) == "predict(xs, ys) in batches (up to 32 calls per batch, collected for at most 10 ms)"


REFUSED = [
    ("x = 1", None, "no function to serve.*def predict"),
    ("def _predict(x): ...", None, "no function to serve"),
    ("def a(x): ...\ndef b(x): ...", Batch(8), r"--batch is for a cell with one function.*a, b; write @batched\(32"),
    ("@batched(8)\ndef a(x): ...", Batch(8), "decorated with @batched and --batch is given; keep one"),
    ("@batched(8)\ndef a(x): ...\n@batched(8)\ndef b(x): ...", None, "a, b are batched.*one service for each"),
    ("@batched(8)\ndef a(x, k=1): ...", None, r"a cannot be batched, since it has defaults \(k\)"),
    ("@batched(8)\ndef a(x): yield x", None, "a cannot be batched, since it is a generator"),
    ("@batched(8)\nasync def a(x): yield x", None, "since it is a generator"),
    ("@batched(8)\ndef a(*xs): ...", None, r"no plain ones \(xs\)"),
    ("@batched(8)\ndef a(x, *, k): ...", None, r"no plain ones \(k\)"),
    ("@batched(8)\ndef a(): ...", None, "has no parameter"),
    ("@batched\ndef a(x): ...", None, r"decorated with @batched; write @batched\(32"),
    ("@modal.batched(max_batch_size=8, wait_ms=1)\ndef a(x): ...", None, r"@modal.batched.*; write @batched\(32"),
    ("@batched(SIZE)\ndef a(x): ...", None, "no plain numbers"),
    ("@batched()\ndef a(x): ...", None, "no plain numbers"),
    ("@batched(1001)\ndef a(x): ...", None, r"size of a batch must be 1 to 1,000 \(Modal's limits\), not 1001"),
    (
        "@batched(8, wait_ms=600001)\ndef a(x): ...",
        None,
        r"wait_ms of a batch must be 0 to 600,000 \(Modal's limits\), not 600001",
    ),
]


@pytest.mark.parametrize("source, given, said", REFUSED, ids=[source for source, _, _ in REFUSED])
def test_what_modal_would_refuse_is_refused_here(source: str, given: Batch | None, said: str) -> None:
    with pytest.raises(ServiceError, match=said):
        served(source, given)


def test_a_cell_that_is_none_is_a_syntax_error_of_its_own() -> None:
    with pytest.raises(SyntaxError) as caught:
        served("def predict(x):\n    return (x\n")
    shown = "\n".join(caught.value._render_traceback_())  # type: ignore[attr-defined]  # IPython's hook
    assert "line 2" in shown
    assert "cellsource" not in shown


@batched(16, wait_ms=3)
def embed(texts: list[str]) -> list[int]:
    """Lengths."""
    return [len(text) for text in texts]


def plain(x: int, y: int = 2) -> int:
    """A sum."""
    return x + y


async def ticks() -> Any:
    """Two."""
    yield 1


def test_functions_become_methods() -> None:
    first, second = methods_of([plain, ticks], None)
    assert (str(first), first.doc, first.kind, second.kind) == (
        "plain(x: 'int', y: 'int' = 2) -> 'int'",
        "A sum.",
        "function",
        "async generator",
    )
    assert methods_of([embed], None)[0].batch == Batch(16, 3)
    assert embed(["a", "bc"]) == [1, 2], "the mark is nothing but a mark"


WRONG_FUNCTIONS: list[tuple[list[Callable[..., Any]], str]] = [
    ([], "no function"),
    ([embed, plain], "embed is batched.*remove plain"),
    ([lambda x: x], "functions with a name"),
    ([int], "functions with a name"),
]


@pytest.mark.parametrize("functions, said", WRONG_FUNCTIONS)
def test_functions_that_cannot_be_served(functions: list[Callable[..., Any]], said: str) -> None:
    with pytest.raises(ServiceError, match=said):
        methods_of(functions, None)


@pytest.mark.parametrize(
    "options, said",
    [
        ({"min_containers": 3, "max_containers": 2}, "not 3 and 2"),
        ({"min_containers": -1}, "not -1"),
        ({"max_containers": 0}, "not 0 and 0"),
        ({"concurrent": 0}, "concurrent is 0"),
        ({"concurrent": 1001}, "concurrent is 1001"),
    ],
)
def test_how_it_is_served_is_checked_at_birth(options: dict[str, int], said: str) -> None:
    with pytest.raises(ServiceError, match=said):
        Serving(methods_of([plain], None), **options)  # type: ignore[arg-type]  # the point of the test


def _items() -> Iterator[int]:
    yield 1


def test_a_generator_streams() -> None:
    (method,) = methods_of([_items], None)
    assert method.streams


@pytest.mark.parametrize(
    ("decorator", "said"),
    [
        (
            "@modal.enter()",
            "f is decorated with @modal.enter; the cell's top level runs once a container: write the lines",
        ),
        ("@modal.enter", "write the lines of f there"),
        ("@modal.exit()", "use atexit.register"),
        ("@modal.method()", "every function of the cell is a method"),
        ("@modal.concurrent(max_inputs=4)", "--concurrent N"),
        ("@modal.fastapi_endpoint()", "called from the notebook"),
        ("@app.function(gpu='H100')", "write its options above the cell"),
    ],
)
@pytest.mark.parametrize("name", ["f", "_f"])
def test_a_decorator_of_modals_own_is_refused_before_anything_starts(decorator: str, said: str, name: str) -> None:
    source = f"{decorator}\ndef {name}(x): ...\n@app.get('/')\ndef g(x): ..."
    with pytest.raises(ServiceError, match=re.escape(said.replace("f is", f"{name} is").replace("of f", f"of {name}"))):
        methods_of_cell(tree_of(source), None)
