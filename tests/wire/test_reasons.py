"""From what pickle says to what a person wants to know."""

from __future__ import annotations

import pytest

from modal_gpu_magic.errors import TransferError
from modal_gpu_magic.wire.reasons import NotHereError, missing_module, missing_name, why_not_here, why_unpicklable


@pytest.mark.parametrize(
    ("error", "clause"),
    [
        (TypeError("cannot pickle '_thread.lock' object"), "it holds a lock (_thread.lock)"),
        (TypeError("cannot pickle 'frame' object"), "it holds a running function's frame (frame)"),
        (TypeError("cannot pickle 'lib.Handle' object"), "it holds a lib.Handle, which cannot be pickled"),
        (TypeError("cannot pickle 'list' object"), "it is a list, which cannot be pickled"),
        (RecursionError("maximum"), "it is nested too deeply"),
        (MemoryError(), "there is not enough memory to pickle it"),
        (ValueError(), "it cannot be pickled (ValueError)"),
        (ValueError("x" * 300), "it cannot be pickled (ValueError: " + "x" * 188 + "…)"),
    ],
)
def test_why_unpicklable(error: Exception, clause: str) -> None:
    assert why_unpicklable([], error) == clause


@pytest.mark.parametrize(
    ("error", "clause"),
    [
        (NotHereError("needs a.b"), "needs a.b"),
        (TransferError("gone"), "gone"),
        (ModuleNotFoundError("No module named 'x.y'", name="x.y"), "needs x, which is not installed here"),
        (
            ModuleNotFoundError("No module named 'json.y'", name="json.y"),
            "needs json.y, which the json installed here does not have",
        ),
        (ImportError("libcuda.so.1: not found"), "could not be made here (ImportError: libcuda.so.1: not found)"),
        (TypeError("bad\nmore"), "could not be made here (TypeError: bad)"),
    ],
)
def test_why_not_here(error: Exception, clause: str) -> None:
    assert why_not_here(error) == clause


def test_names() -> None:
    assert missing_module("nowhere_at_all") == "needs nowhere_at_all, which is not installed here"
    assert missing_name("torch.nn", "New") == "needs torch.nn.New, which the torch installed here does not have"
    assert missing_name("__main__", "Mine") == "needs Mine, which is not defined here"
