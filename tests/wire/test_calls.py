"""What a service's call carries: plain values by pickle, delicate ones as a cell's, errors by value."""

from __future__ import annotations

import pickle
import sys
import threading
import types
from typing import Any

import numpy as np
import pytest
import torch

from modal_gpu_magic.errors import ServiceError, TransferError
from modal_gpu_magic.wire.calls import Fault, decode, encode, failure_of
from modal_gpu_magic.wire.messages.batching import Batch, batch_of, batched
from modal_gpu_magic.wire.messages.events import Transfer
from modal_gpu_magic.wire.messages.seal import seal

NOTEBOOK = "class Point:\n    def __init__(self, x): self.x = x\n\ndef twice(x): return FACTOR * x\n"


@pytest.fixture
def namespace(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A notebook's globals, as `__main__`."""
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    exec(NOTEBOOK, vars(main))
    return vars(main)


@pytest.mark.parametrize("value", [((1, "a", None), {"k": [2.5]}), b"\0" * 10, {"x": {1, 2}}, "text"])
def test_plain_values_are_plain_pickles(value: Any) -> None:
    data = encode(value, {}, "it")
    assert data == seal(pickle.dumps(value, 5))
    assert decode(data, {}) == value


def test_arrays_cross() -> None:
    array = np.arange(12.0).reshape(3, 4)
    assert np.array_equal(decode(encode((array,), {}, "it"), {})[0], array)


def test_a_tensor_crosses_as_a_cells_does() -> None:
    tensor = torch.arange(6).reshape(2, 3)
    data = encode([tensor, tensor.T], {}, "it")
    assert type(pickle.loads(data)) is Transfer
    one, other = decode(data, {})
    assert torch.equal(one, tensor)
    assert one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr(), "they share it still"


def test_a_class_of_the_notebook_stays_the_same_class(namespace: dict[str, Any]) -> None:
    point = decode(encode(namespace["Point"](3), namespace, "it"), namespace)
    assert isinstance(point, namespace["Point"])
    assert point.x == 3


def test_a_function_of_the_notebook_gets_the_other_sides_globals(namespace: dict[str, Any]) -> None:
    there = {**namespace, "FACTOR": 5}
    assert decode(encode(namespace["twice"], namespace, "it"), there)(4) == 20
    assert decode(encode(lambda x: x + 1, namespace, "it"), there)(1) == 2


def test_what_cannot_travel_is_said() -> None:
    with pytest.raises(TransferError, match=r"Cannot send `what f is called with`: it holds a lock"):
        encode([threading.Lock()], {}, "what f is called with")


def test_an_error_goes_by_value(namespace: dict[str, Any]) -> None:
    exec("class Mine(Exception): ...", namespace)
    fault = pickle.loads(pickle.dumps(Fault(failure_of(namespace["Mine"]("x"), ("line",), "x", namespace))))
    assert str(fault) == "Mine: x"
    assert fault.failure.traceback == ("line",)
    assert fault.failure.exception is not None


@pytest.mark.parametrize(("size", "wait_ms"), [(0, 1), (1001, 1), (1, -1), (1, 600_001), (True, 1), (1.5, 1)])
def test_batches_have_modals_limits(size: Any, wait_ms: Any) -> None:
    with pytest.raises(ServiceError, match="Modal's limits"):
        batched(size, wait_ms=wait_ms)


def test_a_mark_is_found_again() -> None:
    def function(xs: list[int]) -> list[int]:
        return xs

    assert batch_of(function) is None
    assert batched(8)(function) is function
    assert batch_of(function) == Batch(8, 100)
