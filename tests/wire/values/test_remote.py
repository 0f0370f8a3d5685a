"""A value that stayed: shown as it is, fetched on request, and a helpful sentence for all else."""

from __future__ import annotations

import copy
import inspect
import math
import operator
import pickle
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import torch
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from modal_gpu_magic.errors import LostValueError, RemoteValueError, TransferError
from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.transfer import pack
from modal_gpu_magic.wire.values.remote import COPIED, RemoteValue, facts, is_lost, lose, refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SENTENCE = (
    r"^`big` \(Tensor float32 \[3\], 12 B\) is in the container of session 'default': "
    r"use it in a %%modal_gpu cell, or copy it to the notebook with big\.fetch\(\)$"
)


def remote(**more: Any) -> RemoteValue:
    how = {"fetch": object, **more}
    return RemoteValue("big", "default", "Tensor", "Tensor float32 [3], 12 B", "12 B do not fit --fetch 1B", **how)


def applied(name: str, value: Any, *, left: bool) -> Any:
    """An operator on a remote value and a number."""
    return getattr(operator, name)(value, 1) if left else getattr(operator, name)(1, value)


BINARY = (
    *("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow", "lshift", "rshift", "and_", "or_", "xor"),
    *("lt", "le", "eq", "ne", "gt", "ge"),
)
LEFT = (
    *("iadd", "isub", "imul", "imatmul", "itruediv", "ifloordiv", "imod", "ipow", "iand", "ior", "ixor", "ilshift"),
    *("irshift", "getitem", "delitem", "contains"),
)
UNARY = ("neg", "pos", "abs", "invert", "index", "truth", "not_")
CALLS: tuple[Any, ...] = (
    *(len, iter, next, list, tuple, set, dict, sum, sorted, max, reversed, int, float, complex, bytes, round, range),
    *(math.floor, math.ceil, math.trunc, math.sqrt),
)

USES: list[Callable[[Any], Any]] = [
    *(getattr(operator, name) for name in UNARY),
    *CALLS,
    *(partial(applied, name, left=True) for name in (*BINARY, *LEFT)),
    *(partial(applied, name, left=False) for name in BINARY),
    lambda v: divmod(v, 1),
    lambda v: divmod(1, v),
    lambda v: v(1, k=2),
    lambda v: v.shape,
    lambda v: v.sum(),
    lambda v: v.name,
    lambda v: v.summary,
    lambda v: setattr(v, "x", 1),
    lambda v: delattr(v, "x"),
    lambda v: operator.setitem(v, 0, 1),
    lambda v: 1 in v,
    lambda v: f"{v:.2f}",
    lambda v: [1, 2, 3][v],
    lambda v: "abc" + v,
    lambda v: v.__enter__(),
    lambda v: v.__aiter__(),
    lambda v: v.__await__(),
    np.asarray,
    lambda v: np.ones(3) + v,
    lambda v: np.add(1, v),
    lambda v: np.concatenate([v]),
    np.mean,
    lambda v: torch.add(torch.ones(3), v),
    lambda v: torch.ones(3) + v,
    lambda v: torch.ones(3).add(other=v),
    lambda v: pd.Series([1, 2]) + v,
    pd.DataFrame,
    lambda v: pd.DataFrame({"a": [1]})[v],
]


@pytest.mark.parametrize("use", USES, ids=range(len(USES)))
def test_every_use_names_the_variable_and_the_two_ways_out(use: Callable[[Any], Any]) -> None:
    with pytest.raises(RemoteValueError, match=SENTENCE):
        use(remote())


STATEMENTS = [
    "if value: raise AssertionError",
    "with value: raise AssertionError",
    "for _ in value: raise AssertionError",
    "_, _ = value",
    "value += 1",
    "match value:\n    case [_, _]: raise AssertionError\n    case {'k': _}: raise AssertionError\n    case 1: raise AssertionError",
    "print(*value)",
    "dict(**{'k': 1}, **value)",
    "assert value",
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_statements(statement: str) -> None:
    with pytest.raises((RemoteValueError, TypeError)) as caught:
        exec(statement, {"value": remote()})
    assert "big.fetch()" in str(caught.value) or "**" in statement


class TestLooks:
    def test_one_line(self) -> None:
        line = "<remote Tensor float32 [3], 12 B · session default · 12 B do not fit --fetch 1B>"
        assert repr(remote()) == str(remote()) == f"{remote()}" == line
        assert repr(RemoteValue("x", "s", "Model", fetch=str)) == "<remote Model · session s>"

    def test_its_own_rich_repr_under_that_line(self) -> None:
        bundle = {"text/plain": "tensor([1, 2])", "text/html": "<b>t</b>", "image/png": "iVBOR"}
        shown = remote(bundle=bundle)._repr_mimebundle_()
        assert shown["text/plain"].splitlines() == [repr(remote()), "tensor([1, 2])"]
        assert shown["text/html"].endswith("</div><b>t</b>")
        assert "&lt;remote Tensor" in shown["text/html"]
        assert shown["image/png"] == "iVBOR"
        assert remote()._repr_mimebundle_() == {"text/plain": repr(remote())}
        assert bundle["text/plain"] == "tensor([1, 2])"

    def test_facts(self) -> None:
        its = facts(remote(bundle={"text/plain": "t"}))
        assert (its.name, its.session, its.type_name, its.bundle) == ("big", "default", "Tensor", {"text/plain": "t"})


class TestFetch:
    def test_it_asks_its_session_for_itself(self) -> None:
        value = remote(fetch=lambda asked: [asked])
        (asked,) = value.fetch()
        assert asked is value

    def test_a_lost_one_says_why(self) -> None:
        value = remote(fetch=str)
        assert not is_lost(value)
        lose(value, "its container has ended")
        assert is_lost(value)
        assert repr(value) == "<lost Tensor float32 [3], 12 B · session default · its container has ended>"
        with pytest.raises(LostValueError, match=r"^`big` is lost: its container has ended; run the cell that made it"):
            value.fetch()

    def test_a_lost_one_is_not_sent_by_its_name(self) -> None:
        value = remote(fetch=str)
        lose(value, "its container has ended")
        with pytest.raises(
            TransferError,
            match=r"holds a lost value at `\[0\]`: its container has ended; run the cell that made `big` again",
        ):
            pack({"box": [value]}, {"big": 7}, InlineStore())

    def test_a_pickle_is_lost(self) -> None:
        back = pickle.loads(pickle.dumps(remote(fetch=str)))
        with pytest.raises(LostValueError, match="a pickle of a remote value does not have the value"):
            back.fetch()


class TestProbes:
    """What looks at any object without meaning to use it must not stumble."""

    def test_attributes_it_may_have(self) -> None:
        value = remote()
        for name in (
            "shape",
            "dtype",
            "__dataframe__",
            "__arrow_c_stream__",
            "_repr_html_",
            "_ipython_display_",
            "__cuda_array_interface__",
        ):
            assert not hasattr(value, name)
            assert getattr(value, name, None) is None
        assert dir(value) == ["fetch"]

    def test_identity_hash_and_type(self) -> None:
        value = remote()
        assert isinstance(value, RemoteValue)
        assert not isinstance(value, str | dict | np.ndarray | torch.Tensor)
        assert [value].index(value) == 0
        assert {value: 1}[value] == 1
        assert value is not None

    def test_copy_and_pickle(self) -> None:
        value = remote(fetch=len, bundle={"a": 1})
        assert copy.copy(value) is copy.deepcopy(value) is value
        assert copy.deepcopy({"v": value})["v"] is value
        back = pickle.loads(pickle.dumps(value))
        assert facts(back) == replace(facts(value), why=COPIED)

    def test_inspect(self) -> None:
        inspect.getmembers(remote())
        assert inspect.getdoc(remote())


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    yield shell
    InteractiveShell.clear_instance()


class TestIPython:
    def test_shows_it(self, shell: InteractiveShell) -> None:
        assert shell.display_formatter is not None
        shown, _ = shell.display_formatter.format(remote(bundle={"text/html": "<b>t</b>"}))
        assert set(shown) == {"text/plain", "text/html"}
        assert shown["text/plain"] == repr(remote())

    def test_as_a_result_and_in_a_listing(self, shell: InteractiveShell, capsys: pytest.CaptureFixture[str]) -> None:
        shell.user_ns["big"] = remote()
        for source in ("big", "[big, {'k': big}]", "%who", "%whos", "big?", "print(big)", "x = big", "%xdel x"):
            result = shell.run_cell(source)
            assert result.success, source
        assert "remote Tensor" in capsys.readouterr().out

    def test_completes_it(self, shell: InteractiveShell) -> None:
        shell.user_ns["big"] = remote()
        for jedi in (True, False):
            shell.Completer.use_jedi = jedi
            with provisionalcompleter():
                assert "fetch" in {found.text.strip(".") for found in shell.Completer.completions("big.", 4)}


def test_the_refusal_itself() -> None:
    with pytest.raises(RemoteValueError, match=SENTENCE):
        refuse(remote(), "any", argument="s")
