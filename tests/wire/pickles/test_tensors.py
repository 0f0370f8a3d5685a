"""Torch across: views that share, models tied to optimizers, gradients, and the kinds that take torch's own way."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from modal_gpu_magic.wire.buffers.stores import InlineStore, SharedStore
from modal_gpu_magic.wire.pickles import receiver
from modal_gpu_magic.wire.pickles.fingerprints import fingerprint
from modal_gpu_magic.wire.pickles.loading import Known, Loader
from modal_gpu_magic.wire.pickles.types.tensors import is_plain, is_sliver, storage_from
from modal_gpu_magic.wire.transfer import pack, unpack
from tests.wire.far_side import FarSide, new_namespace

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
    "csc": lambda: torch.eye(50).to_sparse_csc(),
    "bsr": lambda: torch.eye(50).to_sparse_bsr((10, 10)),
    "sparse, repeated": lambda: torch.sparse_coo_tensor(torch.tensor([[0, 0], [1, 1]]), torch.ones(2), (3, 3)),
    "sparse, wants a gradient": lambda: torch.eye(5).to_sparse().requires_grad_(),
    "quantized by channel": lambda: torch.quantize_per_channel(
        torch.randn(30, 40), torch.full((30,), 0.1), torch.zeros(30, dtype=torch.long), 0, torch.qint8
    ),
    "wants a gradient": lambda: torch.ones(3, requires_grad=True),
}


def numbers(tensor: torch.Tensor) -> list[Any]:
    """What a tensor holds, whatever its kind."""
    if tensor.device.type == "meta":
        return []
    plain = tensor.dequantize() if tensor.is_quantized else tensor.detach()
    values: list[Any] = (plain.float() if plain.dtype == torch.float8_e4m3fn else plain).to_dense().tolist()
    return values


@pytest.mark.filterwarnings("ignore:Sparse")  # are in beta state, torch says where one is made
@pytest.mark.filterwarnings("ignore:torch.quantize_per_")
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


@pytest.mark.filterwarnings("ignore:torch.quantize_per_")
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


class Weight(nn.Parameter):  # type: ignore[misc]  # mypy does not follow torch, see pyproject.toml
    """A subclass of Parameter, as libraries have them."""


def test_a_subclass_of_parameter_stays_one() -> None:
    weight = Weight(torch.ones(3), requires_grad=False)
    weight.tag = "t"
    arrived = across({"w": weight})["w"]
    assert type(arrived) is Weight
    assert arrived.tag == "t"
    assert not arrived.requires_grad


def test_no_warning_of_torch_s_in_the_cell() -> None:
    """In a process of its own: torch gives some warnings once."""
    source = """
import sys, warnings, torch
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    quantized = torch.quantize_per_tensor(torch.randn(30, 30), 0.1, 0, torch.qint8)
    kinds = [torch.eye(5).to_sparse(), torch.eye(5).to_sparse_csr(), quantized, torch.ones(3).bfloat16()]
warnings.simplefilter("error")
from modal_gpu_magic.wire.buffers.stores import InlineStore
from modal_gpu_magic.wire.transfer import pack, unpack
from modal_gpu_magic.wire.pickles.fingerprints import fingerprint
store = InlineStore()
fingerprint(kinds, {})
arrived = unpack(pack({"kinds": kinds}, {}, store), {}, store)
assert arrived.failed == {} and len(arrived.values["kinds"]) == 4
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")


def test_hooks_come_along_and_can_be_removed() -> None:
    weight = torch.ones(3, requires_grad=True)
    handle = weight.register_hook(lambda grad: grad * 10)
    weight.register_hook(lambda grad: grad + 1)
    weight.register_post_accumulate_grad_hook(lambda it: setattr(it, "seen", True))
    arrived = across({"w": weight, "handle": handle})
    arrived["w"].sum().backward()
    assert arrived["w"].grad.tolist() == [11.0] * 3
    assert arrived["w"].seen
    arrived["handle"].remove()
    arrived["w"].grad = None
    arrived["w"].sum().backward()
    assert arrived["w"].grad.tolist() == [2.0] * 3


def test_a_hook_registered_here_does_not_replace_one_that_came() -> None:
    """Torch numbers hooks from 0 in each process."""
    source = "import torch\nm = torch.nn.Linear(1, 1)\nm.register_forward_hook(lambda m, i, o: o * 0 + 1)"
    namespace = new_namespace()
    exec(source, namespace)
    with FarSide(namespace) as far:
        assert far.send("m") == {}
        far.run("m.register_forward_hook(lambda m, i, o: o + 5)\nimport torch\n0")
        assert far.run("m(torch.ones(1)).item()") == 6


def test_what_torch_says_of_types() -> None:
    values = [torch.finfo(torch.float16), torch.iinfo(torch.int8), torch.Size([1, 2]), torch.bfloat16]
    arrived = across({"v": values})["v"]
    assert [type(each) for each in arrived] == [type(each) for each in values]
    assert (arrived[0].max, arrived[1].max, arrived[2], arrived[3]) == (65504, 127, (1, 2), torch.bfloat16)


def test_a_generator_goes_on_from_where_it_was() -> None:
    generator = torch.Generator().manual_seed(3)
    torch.rand(5, generator=generator)
    arrived = across({"g": generator})["g"]
    assert torch.equal(torch.rand(5, generator=arrived), torch.rand(5, generator=generator))


def test_expanded_ones_send_their_small_storage() -> None:
    store = InlineStore()
    transfer = pack({"t": torch.zeros(3, 1).expand(3, 10**9)}, {}, store)
    assert transfer.nbytes < 1_000
    assert unpack(transfer, {}, store).values["t"].stride() == (1, 0)


def test_a_subclass_arrives_as_itself() -> None:
    tagged = torch.randn(300, 300).as_subclass(Tagged)
    tagged.tag = "t"
    assert is_plain(tagged)
    arrived = across({"t": tagged})["t"]
    assert type(arrived) is Tagged
    assert arrived.tag == "t"
    assert torch.equal(arrived.as_subclass(torch.Tensor), tagged.as_subclass(torch.Tensor))


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
    assert loader.find_class(receiver.__name__, "device")("cuda:0") == device


@pytest.mark.parametrize("device", ["cuda:0", "mps", "xpu:3", "nonsense:0"])
def test_a_device_that_is_not_here_is_the_host(device: str) -> None:
    storage = storage_from(bytearray(b"abcd"), device)
    assert storage.device.type == "cpu"
    assert storage.tolist() == list(b"abcd")
