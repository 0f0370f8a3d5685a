"""Torch across: views that share, models tied to optimizers, gradients, and the kinds that take torch's own way."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from modal_gpu_magic.wire.buffers import InlineStore, SharedStore
from modal_gpu_magic.wire.loading import Known, Loader
from modal_gpu_magic.wire.tensors import is_plain, is_sliver, storage_from
from modal_gpu_magic.wire.transfer import fingerprint, pack, unpack

LARGE = 1_000_000


def across(values: dict[str, Any], **options: Any) -> dict[str, Any]:
    store = InlineStore()
    arrived = unpack(pack(values, {}, store), {}, InlineStore(store.inline), **options)
    assert arrived.failed == {}
    return arrived.values


TENSORS: dict[str, Callable[[], torch.Tensor]] = {
    "float": lambda: torch.randn(3, 4),
    "large": lambda: torch.randn(500, 500),
    "half": lambda: torch.randn(3).half(),
    "bfloat16": lambda: torch.randn(3).bfloat16(),
    "bool": lambda: torch.tensor([True, False]),
    "scalar": lambda: torch.tensor(3),
    "empty": lambda: torch.empty(0, 3),
    "complex": lambda: torch.randn(3, dtype=torch.complex64),
    "float8": lambda: torch.randn(4).to(torch.float8_e4m3fn),
    "transposed": lambda: torch.randn(300, 400).T,
    "strided": lambda: torch.randn(100)[::3],
    "offset": lambda: torch.arange(10)[4:],
    "expanded": lambda: torch.tensor([1.0]).expand(5, 5),
    "channels last": lambda: torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "conjugated": lambda: torch.randn(3, dtype=torch.complex64).conj(),
    "negated": lambda: torch.randn(3, dtype=torch.complex64).conj().imag,
    "sparse": lambda: torch.eye(50).to_sparse(),
    "csr": lambda: torch.eye(50).to_sparse_csr(),
    "quantized": lambda: torch.quantize_per_tensor(torch.randn(500, 500), 0.1, 0, torch.qint8),
    "meta": lambda: torch.empty(3, device="meta"),
    "from a graph": lambda: torch.ones(3, requires_grad=True) * 2,
    "wants a gradient": lambda: torch.ones(3, requires_grad=True),
}


def numbers(tensor: torch.Tensor) -> list[Any]:
    """What a tensor holds, whatever its kind."""
    if tensor.device.type == "meta":
        return []
    plain = tensor.dequantize() if tensor.is_quantized else tensor.detach()
    values: list[Any] = (plain.float() if plain.dtype == torch.float8_e4m3fn else plain).to_dense().tolist()
    return values


@pytest.mark.filterwarnings("ignore")  # torch warns that sparse tensors are beta, and that quantized ones are going
@pytest.mark.parametrize("name", TENSORS)
def test_every_kind_arrives_equal(name: str) -> None:
    tensor = TENSORS[name]()
    arrived = across({"t": tensor})["t"]
    assert type(arrived) is torch.Tensor
    for fact in ("dtype", "shape", "layout", "device", "requires_grad", "is_quantized"):
        assert getattr(arrived, fact) == getattr(tensor, fact)
    if tensor.layout is torch.strided:
        assert arrived.stride() == tensor.stride()
    assert numbers(arrived) == numbers(tensor)
    assert fingerprint(tensor, {}) == fingerprint(tensor, {}) is not None


@pytest.mark.filterwarnings("ignore")  # quantized tensors are going, torch says
def test_large_ones_are_not_in_the_stream() -> None:
    store = InlineStore()
    values = {
        "plain": torch.randn(LARGE),
        "quantized": torch.quantize_per_tensor(torch.randn(LARGE), 0.1, 0, torch.qint8),
    }
    transfer = pack({**values, "model": nn.Linear(1000, 1000)}, {}, store)
    assert len(transfer.stream) < 10_000
    assert transfer.nbytes > 9_000_000


def test_views_share_there_and_names_do_not_matter() -> None:
    whole = torch.arange(LARGE)
    arrived = across(
        {"model": {"w": whole[: LARGE // 2 + 1]}, "view": whole[10:], "t": whole.view(1000, 1000), "small": whole[:3]}
    )
    arrived["t"][0, 11] = -1
    assert arrived["view"][1] == -1
    assert arrived["model"]["w"][11] == -1
    arrived["t"][0, 0] = -2
    assert arrived["small"][0] == -2


def test_a_sliver_travels_without_its_storage_unless_that_travels_too() -> None:
    whole = torch.arange(LARGE)
    store = InlineStore()
    transfer = pack({"small": whole[5:8]}, {}, store)
    assert transfer.nbytes < 1_000
    assert unpack(transfer, {}, store).values["small"].tolist() == [5, 6, 7]
    assert is_sliver(whole[5:8])
    assert not is_sliver(whole[5:])
    assert fingerprint(whole[5:8], {}) == fingerprint(whole[5:8].clone(), {})


def test_parts_of_one_storage_inside_an_object_keep_sharing_it() -> None:
    """Flat parameters: each is a small part of its storage, and a name of its own besides."""
    flat = torch.zeros(LARGE)
    parts = list(flat.split(LARGE // 4))
    arrived = across({"first": parts[0], "holder": {"parts": parts}})
    assert arrived["holder"]["parts"][0] is arrived["first"]
    pointers = {part.untyped_storage().data_ptr() for part in arrived["holder"]["parts"]}
    assert len(pointers) == 1


def test_a_model_its_optimizer_and_its_gradients_stay_tied() -> None:
    model = nn.Sequential(nn.Linear(300, 300), nn.ReLU(), nn.Linear(300, 1))
    model[0].weight.no_decay = True
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    x = torch.randn(5, 300)
    model(x).sum().backward()
    optimizer.step()
    arrived = across({"optimizer": optimizer, "model": model, "x": x, "w": model[0].weight})
    there, its = arrived["model"], arrived["optimizer"]
    assert its.param_groups[0]["params"][0] is there[0].weight is arrived["w"]
    assert type(there[0].weight) is nn.Parameter
    assert there[0].weight.no_decay
    assert torch.equal(there[0].weight.grad, model[0].weight.grad)
    for net, opt in ((model, optimizer), (there, its)):
        opt.zero_grad()
        net(x).sum().backward()
        opt.step()
    for one, other in zip(model.parameters(), there.parameters(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(its.state[there[0].weight]["exp_avg"], optimizer.state[model[0].weight]["exp_avg"])


def test_tied_weights_stay_tied() -> None:
    model = nn.ModuleDict({"a": nn.Linear(10, 10), "b": nn.Linear(10, 10)})
    model["b"].weight = model["a"].weight
    arrived = across({"model": model})["model"]
    assert arrived["b"].weight is arrived["a"].weight


def test_small_ones_can_be_resized_and_large_ones_written_to(tmp_path: Any) -> None:
    store = SharedStore(tmp_path)
    values = {"small": torch.ones(3), "large": torch.ones(LARGE)}
    arrived = unpack(pack(values, {}, store), {}, store).values
    arrived["small"].resize_(1000)
    arrived["large"].add_(1)
    assert values["large"][0] == 1
    assert arrived["large"].sum() == 2 * LARGE


class Tagged(torch.Tensor):  # type: ignore[misc]  # mypy does not follow torch, see pyproject.toml
    """A subclass, as libraries have them."""


@pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")
def test_a_subclass_takes_torchs_own_way() -> None:
    tagged = torch.randn(300, 300).as_subclass(Tagged)
    tagged.tag = "t"
    assert not is_plain(tagged)
    arrived = across({"t": tagged})["t"]
    assert type(arrived) is Tagged
    assert arrived.tag == "t"
    assert torch.equal(arrived.as_subclass(torch.Tensor), tagged.as_subclass(torch.Tensor))


def test_a_tensor_is_written_into_the_one_here() -> None:
    here = torch.zeros(1000)
    view = here[:10]
    changed = torch.arange(1000.0)
    arrived = across({"t": changed, "d": {"inner": changed}}, into={"t": here})
    assert arrived["t"] is arrived["d"]["inner"] is here
    assert view[3] == 3


def test_change_is_seen_in_the_fingerprint() -> None:
    model = nn.Linear(300, 300)
    before = fingerprint(model, {})
    with torch.no_grad():
        model.weight[0, 0] += 1
    after = fingerprint(model, {})
    assert before != after
    model(torch.ones(1, 300))
    model.eval()
    assert fingerprint(model.train(), {}) == after


def test_fingerprints_hold_on_either_side() -> None:
    model = nn.Linear(300, 300)
    optimizer = torch.optim.AdamW(model.parameters())
    for value in (model, optimizer, torch.randn(LARGE), torch.Generator()):
        arrived = across({"v": value})["v"]
        assert fingerprint(arrived, {}) == fingerprint(arrived, {}) is not None


@pytest.mark.parametrize("restore, device", [(True, "cuda:0"), (False, "cpu")])
def test_the_device_is_the_loaders_choice(restore: bool, device: str) -> None:
    loader = Loader(io.BytesIO(), {}, Known(), restore_devices=restore)
    assert loader.persistent_load("cuda:0") == device


@pytest.mark.parametrize("device", ["cuda:0", "mps", "xpu:3", "nonsense:0"])
def test_a_device_that_is_not_here_is_the_host(device: str) -> None:
    storage = storage_from(bytearray(b"abcd"), device)
    assert storage.device.type == "cpu"
    assert storage.tolist() == list(b"abcd")
