"""GPUs for a model: the reference's first, then arithmetic."""

from __future__ import annotations

import contextlib
import html
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modal_gpu_magic.catalog.gpus import GPUS
from modal_gpu_magic.errors import LineError, MachineError
from modal_gpu_magic.line.models import TASKS, Dtype, Task, read_model
from modal_gpu_magic.line.spec import GpuSpec
from modal_gpu_magic.plan.machine.clusters import refusal
from modal_gpu_magic.plan.machine.quote import quote, rate
from modal_gpu_magic.plan.machine.recommend import by_price, memory, per_hour, ranking, recommend


@pytest.mark.parametrize(
    "model, task, dtype, first",
    [
        ("3B", "inference", "bf16", "L4 T4"),
        ("350M", "inference", "bf16", "L4 T4"),
        ("6.9b", "inference", "bf16", "L4 T4:2"),
        ("7B", "inference", "bf16", "L40S A100-40GB"),
        ("13B", "inference", "bf16", "L40S A100-40GB"),
        ("13B", "inference", "fp32", "L40S:2 A100-40GB:2"),
        ("30B", "inference", "bf16", "A100-80GB H100"),
        ("70B", "inference", "bf16", "A100-80GB:3 H100:3"),
        ("70B", "inference", "int4", "A100-80GB H100"),
        ("72B", "inference", "int8", "H100:2 H200 B200"),
        ("175B", "inference", "bf16", "H100:6 H200:3 B200:3"),
        ("405B", "inference", "bf16", "H200:7 B200:6"),  # eight H100 are too small
        ("900B", "inference", "bf16", ""),  # only eight B300 hold it
        ("13B", "lora", "bf16", "A100-40GB L40S"),
        ("70B", "lora", "int4", "A100-40GB:2 L40S:2"),
        ("1B", "full", "bf16", "A100-80GB H100"),
        ("13B", "full", "bf16", "A100-80GB:4 H100:4"),
        ("1B", "pretrain", "bf16", "H100:8 H200:8"),
        ("50B", "pretrain", "bf16", "H200:8"),
    ],
)
def test_the_reference_s_gpus_come_first(model: str, task: Task, dtype: Dtype, first: str) -> None:
    rows = recommend(model, task, dtype)
    recommended = [str(row.spec) for row in rows if row.guideline]
    assert recommended == first.split() == [str(row.spec) for row in rows[: len(recommended)]]


def test_the_others_follow_cheapest_first_each_once() -> None:
    rows = recommend("13B", "lora")
    others = [row.per_hour or 0 for row in rows if not row.guideline]
    assert others == sorted(others)
    assert {row.spec.name for row in rows} == {gpu.name for gpu in GPUS.values() if gpu.pinned}
    assert len({row.spec for row in rows}) == len(rows)


@pytest.mark.parametrize(
    "params, task, dtype, need, formula",
    [
        (13e9, "inference", "bf16", 31.2, "13B × 2 bytes = 26 GB weights, + 20% KV cache and activations = 31 GB"),
        (
            350e6,
            "inference",
            "int4",
            0.21,
            "350M × 0.5 bytes = 0.17 GB weights, + 20% KV cache and activations = 0.21 GB",
        ),
        (
            13e9,
            "lora",
            "bf16",
            33.696,
            "13B × 2 bytes = 26 GB frozen weights + 1% adapters × 16 bytes = 2.1 GB, + 20% activations = 34 GB",
        ),
        (
            13e9,
            "full",
            "bf16",
            249.6,
            "13B × 16 bytes = 208 GB weights, gradients and Adam states, + 20% activations = 250 GB",
        ),
        (
            13e9,
            "pretrain",
            "fp32",
            249.6,
            "13B × 16 bytes = 208 GB weights, gradients and Adam states, + 20% activations = 250 GB",
        ),
    ],
)
def test_the_formula(params: float, task: Task, dtype: Dtype, need: float, formula: str) -> None:
    needed, shown = memory(params, task, dtype)
    assert needed == pytest.approx(need)
    assert shown == formula


@pytest.mark.parametrize(
    "model, task, place, reason",
    [
        ("12B", "inference", 0, "the reference's L40S for '7B-13B params'"),
        ("13B", "inference", 0, "the reference's L40S for '7B-13B params', which 13B is counted in"),
        (
            "70B",
            "inference",
            0,
            "the reference's A100-80GB for '13B-70B params', which 70B is counted in; 3 of them, as 1 has 80 GB",
        ),
        ("90B", "inference", 0, "the reference's H100:2+ for '> 70B params'; 3 of them, as 2 have 160 GB"),
        ("3B", "inference", 1, "the reference's T4 for '< 7B params'; no bf16, use fp16"),
        ("13B", "full", 2, "288 GB for the 250 GB it needs"),
    ],
)
def test_the_reason(model: str, task: Task, place: int, reason: str) -> None:
    assert recommend(model, task)[place].reason == reason


def test_it_is_a_tuple_that_shows_itself_as_a_table_with_the_formula() -> None:
    rows = recommend("13B", "lora")
    assert rows == tuple(rows)
    assert pickle.loads(pickle.dumps(rows)).subject == rows.subject == "13B lora in bf16"
    for shown in (repr(rows), html.unescape(rows._repr_html_())):
        assert [str(row.spec) for row in rows if str(row.spec) not in shown or row.reason not in shown] == []
        assert "13B × 2 bytes = 26 GB frozen weights" in shown
        assert "Prices of 2026-09-01." in shown


def test_a_budget_drops_what_is_dearer() -> None:
    rows = recommend("13B", "lora", budget=2.0)
    assert rows == tuple(row for row in recommend("13B", "lora") if (row.per_hour or 0) <= 2.0)
    assert str(rows[0].spec) == "L40S"


def test_a_budget_too_small_names_the_cheapest() -> None:
    cheapest = min(recommend("13B", "full"), key=lambda row: row.per_hour or 0)
    with pytest.raises(
        MachineError, match=rf"\$1/h or less; the cheapest is {cheapest.spec} at \{rate(cheapest.per_hour)}"
    ):
        recommend("13B", "full", budget=1.0)
    assert cheapest in recommend("13B", "full", budget=cheapest.per_hour)


@pytest.mark.parametrize(
    "asked, message",
    [
        (("big",), "'big' is not the size of a model; write its number of parameters, such as 13B"),
        (("Llama-2-13b-hf",), "did you mean 13b?"),
        (("8x7B",), "write its number of parameters"),
        (("13",), "A model has 1,000 to 1e+15 parameters; did you mean 13B?"),
        ((7,), "did you mean 7B?"),
        ((0,), "write a number such as 13B"),
        ((float("nan"),), "write a number such as 13B"),
        (("13B", "lorra"), "'lorra' is not a task; did you mean lora?"),
        (("13B", "training"), "did you mean lora or full?"),
        (("13B", "zzz"), "write inference, lora, full or pretrain."),
        (("13B", "lora", "float16"), "'float16' is not a dtype; did you mean fp16?"),
        (("13B", "lora", "bfloat16"), "did you mean bf16?"),
        (("13B", "full", "int8"), "int8 weights cannot be trained (full); write bf16, or the task lora"),
        (("13B", "lora", "bf16", 0), "A budget must be above 0"),
    ],
)
def test_what_is_refused(asked: tuple[Any, ...], message: str) -> None:
    with pytest.raises(LineError) as refused:
        recommend(*asked)
    assert message in str(refused.value)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("model", ["350M", "7B", "13B", "34B", "70B", "180B", "405B", "900B"])
def test_the_ranking_is_recommend_s_with_every_other_gpu(model: str, task: Task) -> None:
    ranked = ranking(read_model(model), task)
    assert sorted(each.spec.name for each in ranked) == sorted(GPUS)
    one_node = [each for each in ranked if each.nodes == 1]
    pinned = [each for each in one_node if GPUS[each.spec.name].pinned]
    with contextlib.suppress(MachineError):  # none is large enough
        assert [(each.spec, each.reason, each.per_hour) for each in pinned] == [
            (row.spec, row.reason, row.per_hour) for row in recommend(model, task)
        ]
    assert bool(pinned) == (memory(read_model(model), task, "bf16")[0] <= 8 * 288)
    for group in (one_node, [each for each in ranked if each.nodes > 1], [each for each in ranked if not each.nodes]):
        prices = [(each if each.nodes else _one(each.spec.name)).per_hour for each in group if not each.guideline]
        assert prices == sorted(prices, key=lambda price: price or 0.0)
    kinds = [0 if each.nodes == 1 else 1 if each.nodes else 2 for each in ranked]
    assert kinds == sorted(kinds), "one node, then clusters, then what is too small"


def _one(name: str) -> Any:
    return next(each for each in by_price() if each.spec.name == name)


@pytest.mark.parametrize(
    "model, task, cluster",
    [
        ("405B", "inference", {"H100": 2}),
        ("180B", "full", {"B300": 2, "B200": 3, "B200+": 3, "H200": 4, "H100": 6}),
        ("405B", "pretrain", {"B300": 4, "B200": 6, "B200+": 6, "H200": 7, "H100": 13}),
        ("2T", "inference", {"B300": 3, "B200": 4, "B200+": 4, "H200": 5, "H100": 8}),
        ("13B", "full", {}),
    ],
)
def test_where_one_node_is_too_small_nodes_are_proposed(model: str, task: Task, cluster: dict[str, int]) -> None:
    params = read_model(model)
    need, _ = memory(params, task, "bf16")
    proposed = {each.spec.name: each for each in ranking(params, task) if each.nodes > 1}
    assert {name: each.nodes for name, each in proposed.items()} == cluster
    for each in proposed.values():
        assert refusal([each.spec], each.nodes) is None
        assert (each.spec.vram_gb or 0) * each.nodes >= need > (each.spec.vram_gb or 0) * (each.nodes - 1)
        assert each.per_hour == per_hour(each.spec, each.nodes)
        assert f"on {each.nodes} nodes" in each.reason
    small = {each.spec.name: each for each in ranking(params, task) if not each.nodes}
    for name, each in small.items():
        assert each.reason == f"too small: {GPUS[name].max_count} have {each.spec.vram_gb:,} GB"


def test_without_a_model_the_cheapest_comes_first() -> None:
    order = [each.spec.name for each in by_price()]
    assert order[:4] == ["T4", "L4", "A10", "L40S"]
    assert order.index("A100-40GB") < order.index("A100"), "of one price, the name that means one GPU comes first"
    assert [per_hour(GpuSpec(name)) for name in order] == sorted(per_hour(GpuSpec(name)) or 0 for name in GPUS)


def test_a_model_no_machine_holds() -> None:
    with pytest.raises(MachineError, match=r"try a cluster such as B300:8 --nodes 3, a smaller dtype such as int4"):
        recommend("2T")
    with pytest.raises(MachineError, match=r"\(B300:8\); try a smaller dtype such as int4"):
        recommend("100T")
    with pytest.raises(
        MachineError, match=r"2T for inference needs 4,800 GB, .* 2,304 GB at most \(B300:8\); try .* int4"
    ):
        recommend("2T")


@given(
    st.floats(1e3, 1e15),
    st.sampled_from(["inference", "lora", "full", "pretrain"]),
    st.sampled_from(["bf16", "fp16", "fp32", "int8", "int4"]),
)
def test_what_is_recommended_holds_the_model(params: float, task: Task, dtype: Dtype) -> None:
    if task in ("full", "pretrain") and dtype in ("int8", "int4"):
        return
    need, _ = memory(params, task, dtype)
    if need > 8 * 288:
        with pytest.raises(MachineError):
            recommend(params, task, dtype)
        return
    for row in recommend(params, task, dtype):
        assert (row.spec.vram_gb or 0) >= row.need_gb == need
        assert row.per_hour == quote(row.spec).per_hour


@given(
    st.one_of(st.text(), st.from_regex(r"[0-9]{1,20}[KMBTkmbt\u212a]?"), st.floats(), st.integers(), st.just(10**5000))
)
def test_any_size_is_read_or_refused(model: str | float) -> None:
    with contextlib.suppress(LineError):
        assert 1e3 <= read_model(model) <= 1e15
