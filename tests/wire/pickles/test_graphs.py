"""Tensors with an autograd graph: refused on the way there, numbers without a working graph on the way home."""

from __future__ import annotations

import io
import warnings
from typing import Any

import pytest
import torch
from torch import nn

from modal_gpu_magic.errors import RemoteValueError
from modal_gpu_magic.wire.pickles.fingerprints import fingerprint, look, why_not
from modal_gpu_magic.wire.pickles.identity import IdentityTable
from modal_gpu_magic.wire.pickles.loading import Known, Loader
from modal_gpu_magic.wire.pickles.pickling import TransferPickler


def home(value: Any) -> Any:
    """A value as the container sends it."""
    file = io.BytesIO()
    pickler = TransferPickler(file, {})
    pickler.sends_graphs = True
    pickler.dump(value)
    file.seek(0)
    loader = Loader(file, {}, Known())
    assert loader.load() == {}, "each stream begins with the namespace"
    return loader.load()


def a_loss() -> tuple[Any, Any]:
    weight = torch.ones(3, requires_grad=True)
    return weight, (weight * 3).sum()


REFUSED = [
    (lambda loss: loss, "it is the result of an autograd graph (SumBackward0), and a graph cannot be sent: "),
    (lambda loss: {"history": [loss.detach(), loss]}, "at `['history'][1]`: compute it in the cell"),
    (lambda loss: loss.expand(3).tanh(), "it is the result of an autograd graph (TanhBackward0)"),
]


@pytest.mark.parametrize(("make", "clause"), REFUSED)
def test_is_refused_on_the_way_there(make: Any, clause: str) -> None:
    value = make(a_loss()[1])
    assert clause in str(why_not(value, {}))
    assert str(why_not(value, {})).endswith("compute it in the cell, or send its elements with .detach()")
    assert fingerprint(value, {}) is None


def test_a_result_from_a_container_is_known_to_that_container_alone() -> None:
    """Another session's container, or a new one, has no graph for it: then the value cannot be sent."""
    weight, loss = a_loss()
    result = home({"weight": weight, "loss": loss})["loss"]
    known, other = IdentityTable(side=0), IdentityTable(side=0)
    known.bind(known.next_base(), result)
    assert look([result], {}, table=known) is not None
    assert look([result], {}, table=other) is None
    assert "a graph cannot be sent" in str(why_not(result, {}))


def test_what_is_no_result_is_not_refused() -> None:
    weight, loss = a_loss()
    loss.backward()
    model = nn.Linear(2, 2)
    model(torch.ones(2)).sum().backward()
    with torch.no_grad():
        free = weight * 2
    for value in (weight, loss.detach(), loss.item(), model, free):
        assert why_not(value, {}) is None


def test_comes_home_with_its_numbers_and_is_no_leaf() -> None:
    _, loss = a_loss()
    loss.note = "n"
    arrived = home(loss)
    assert type(arrived) is torch.Tensor
    assert arrived.item() == 9
    assert (arrived.requires_grad, arrived.is_leaf, arrived.note) == (True, False, "n")
    assert arrived.grad_fn is not None
    assert repr(arrived) == repr(loss) == "tensor(9., grad_fn=<SumBackward0>)"
    assert (arrived + 1).item() == 10
    assert arrived.detach().numpy() == 9


def test_its_backward_says_where_the_graph_is() -> None:
    arrived = home(a_loss()[1])
    here = torch.ones(1, requires_grad=True)
    for loss in (arrived, (arrived * here).sum()):
        with pytest.raises(
            RemoteValueError, match=r"call backward.* in a %%modal_gpu cell: the graph .* in the container"
        ):
            loss.backward()


def test_shares_its_storage_with_its_views() -> None:
    _, loss = a_loss()
    arrived = home({"loss": loss, "numbers": loss.detach()})
    assert arrived["loss"].data_ptr() == arrived["numbers"].data_ptr()


def test_a_retained_gradient_is_kept() -> None:
    weight = torch.ones(3, requires_grad=True)
    hidden = weight * 2
    hidden.retain_grad()
    hidden.sum().backward()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        arrived, bare = home([hidden, weight * 2])
        assert arrived.grad.tolist() == [1.0] * 3
        assert arrived.retains_grad
        assert not bare.retains_grad


def test_the_gradient_of_a_leaf_is_kept() -> None:
    weight, loss = a_loss()
    loss.backward()
    arrived = home({"w": weight, "p": nn.Parameter(torch.ones(2), requires_grad=False)})
    assert arrived["w"].grad.tolist() == [3.0] * 3
    assert arrived["w"].is_leaf
    assert not arrived["p"].requires_grad


def test_what_a_module_computes_anew_is_sent() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = nn.utils.weight_norm(nn.Linear(3, 2))
    x = torch.ones(1, 3)
    expected = model(x)
    assert why_not(model, {}) is None
    assert torch.equal(home(model)(x), expected)
    home(model)(x).sum().backward()
