"""What a value looks like from afar: its line, its size, its bounded rich repr."""

from __future__ import annotations

import base64
import collections
import enum
import math
import pickle
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import matplotlib.figure
import numpy as np
import pandas as pd
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from modal_gpu_magic.wire.inspection.size import nbytes_of, size_text
from modal_gpu_magic.wire.inspection.summary import bundle, summary

if TYPE_CHECKING:
    from collections.abc import Iterator


class Broken:
    """A value that fails whoever looks at it."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise RuntimeError

    def __len__(self) -> int:
        raise RuntimeError

    @property
    def __dict__(self) -> Any:  # type: ignore[override]  # on purpose
        raise RuntimeError


class Colour(enum.Enum):
    RED = 1


MODEL = torch.nn.Sequential(torch.nn.Linear(300, 300), torch.nn.ReLU())

LINES = [
    (None, "None"),
    (True, "bool True"),
    (12, "int 12"),
    (1.5, "float 1.5"),
    (10**100, "int 1" + "0" * 54 + "…"),
    ("secret", "str of 6 characters"),
    (b"ab", "bytes, 2 B"),
    (bytearray(5_000), "bytearray, 5.0 kB"),
    ([1, 2, 3], "list of 3"),
    (list(range(1_234_567)), "list of 1,234,567"),
    ((), "tuple of 0"),
    ({"a": 1}, "dict of 1"),
    (collections.OrderedDict(a=1), "OrderedDict of 1"),
    ({1, 2}, "set of 2"),
    (np.zeros((1000, 3)), "ndarray float64 [1000, 3], 24 kB"),
    (np.float32(1), "float32 float32 [], 4 B"),
    (np.zeros(3, "M8[s]"), "ndarray datetime64[s] [3], 24 B"),
    (torch.zeros(4096, 4096), "Tensor float32 [4096, 4096], 67 MB"),
    (torch.zeros(3, device="meta"), "Tensor float32 [3] on meta, 0 B"),
    (torch.nn.Parameter(torch.zeros(3)), "Parameter float32 [3], 12 B"),
    (MODEL, "Sequential of 90,300 parameters, 362 kB"),
    (pd.DataFrame(np.zeros((1_000_000, 12))), "DataFrame 1,000,000 x 12, 96 MB"),
    (pd.Series(np.zeros(1_000)), "Series float64 [1000], 8.5 kB"),
    (math, "module math"),
    (math.sin, "function sin"),
    (summary, "function summary"),
    ([].append, "function list.append"),
    (SimpleNamespace, "class SimpleNamespace"),
    (SimpleNamespace(a=1), "SimpleNamespace"),
    (Colour.RED, "Colour"),
    (np.ndarray, "class ndarray"),
    (object(), "object"),
    (Broken(), "Broken"),
]


@pytest.mark.parametrize(("value", "line"), LINES, ids=[line for _, line in LINES])
def test_summary(value: Any, line: str) -> None:
    assert summary(value) == line


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 kB"),
        (1_540, "1.5 kB"),
        (9_999, "10.0 kB"),
        (10_000, "10 kB"),
        (67_108_864, "67 MB"),
        (5_100_000_000, "5.1 GB"),
        (2 * 10**12, "2.0 TB"),
        (10**16, "10000 TB"),
    ],
)
def test_size_text(nbytes: int, text: str) -> None:
    assert size_text(nbytes) == text


SHARED_TENSOR = torch.zeros(1000)

EXACT = [
    (np.zeros((100, 100)), 80_000),
    (np.zeros((100, 100))[::2], 40_000),
    (torch.zeros(1000), 4_000),
    (torch.zeros(1000)[:3], 4_000),
    (torch.zeros(1_000_000)[:3], 12),
    ([torch.zeros(1_000_000)[:3]], 4_000_000),
    ((SHARED_TENSOR, SHARED_TENSOR.view(100, 10), SHARED_TENSOR[5:]), 4_000),
    (b"x" * 1000, 1_000),
]


@pytest.mark.parametrize(("value", "nbytes"), EXACT, ids=range(len(EXACT)))
def test_arrays_are_measured(value: Any, nbytes: int) -> None:
    assert nbytes <= nbytes_of(value) <= nbytes + 400


def test_gradients_count() -> None:
    weight = torch.zeros(1_000, requires_grad=True)
    weight.grad = torch.zeros(1_000)
    assert nbytes_of(weight) == 8_000


class TestBundle:
    @pytest.mark.parametrize("value", [value for value, _ in LINES], ids=[line for _, line in LINES])
    def test_bounded_for_every_value(self, value: Any) -> None:
        for limit in (20_000, 100):
            found = bundle(value, limit)
            assert "text/plain" in found
            assert sum(len(str(it)) for it in found.values()) <= limit
            pickle.dumps(found)

    def test_a_frame_as_html(self) -> None:
        found = bundle(pd.DataFrame({"a": range(100), "b": range(100)}))
        assert "<table" in found["text/html"]
        assert "100 rows" in found["text/html"]

    def test_of_a_wide_frame_the_head(self) -> None:
        frame = pd.DataFrame({f"column {number}": [number] * 60 for number in range(20)})
        found = bundle(frame, 20_000)
        assert found["text/html"].count("<tr") == 11
        assert found["text/plain"].startswith(repr(frame)[:100])

    def test_containers_are_shortened(self) -> None:
        numbers = list(range(100_000))
        found = bundle(dict.fromkeys(range(1_000), numbers))
        assert set(found) == {"text/plain"}
        assert found["text/plain"].startswith("{0: [0, 1, 2")
        assert len(found["text/plain"]) <= 4_000

    def test_a_long_repr_is_cut(self) -> None:
        assert len(bundle(torch.nn.Sequential(*[torch.nn.ReLU() for _ in range(500)]))["text/plain"]) == 4_000

    def test_one_that_fails_is_named(self) -> None:
        assert bundle(Broken()) == {"text/plain": "Broken"}


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    yield shell
    InteractiveShell.clear_instance()


class TestBundleInIPython:
    """In the container the session's shell says how things look."""

    def test_what_a_class_says_of_itself(self, shell: InteractiveShell) -> None:
        class Rich:
            def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
                return {"text/plain": "rich", "text/latex": "$x$", "application/json": {"a": 1}}

        assert bundle(Rich()) == {"text/plain": "rich", "text/latex": "$x$", "application/json": {"a": 1}}

    def test_a_picture_is_text_and_left_out_if_it_is_large(self, shell: InteractiveShell) -> None:
        class Picture:
            def _repr_png_(self) -> bytes:
                return b"\x89PNG" * 1_000

        assert base64.b64decode(bundle(Picture())["image/png"]) == b"\x89PNG" * 1_000
        assert set(bundle(Picture(), 2_000)) == {"text/plain"}

    def test_a_figure(self, shell: InteractiveShell) -> None:
        assert bundle(matplotlib.figure.Figure())["text/plain"].startswith("<Figure size")

    def test_a_class_that_fails(self, shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
        assert bundle(Broken()) == {"text/plain": "Broken"}
