"""What a `--service` cell creates at Modal equals the class that one writes by hand, as in Modal's own guide.

Meant differences, and no others: one more image layer, methods that take their arguments as bytes, and the cache
Volume of GPU machines (off here).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import modal
import pytest

from modal_gpu_magic.line.parse import parse
from modal_gpu_magic.plan.cell.cellsource import tree_of
from modal_gpu_magic.plan.machine.definition import inherit
from modal_gpu_magic.plan.service.serving import Serving, methods_of_cell
from modal_gpu_magic.sdk.service import ServiceApp
from modal_gpu_magic.wire.calls import Program
from modal_gpu_magic.wire.messages.batching import Batch
from tests.sdk.recorder import Recorder

PLAIN = "def predict(inputs):\n    return inputs"
BATCHED = f"@batched(32, wait_ms=100)\nasync {PLAIN}"

Options = dict[str, Any]


class Plain:
    """What one writes by hand for a plain function."""

    @modal.enter()
    def load_model(self) -> None:
        """Nothing: only the definition counts."""

    @modal.method()
    def predict(self, inputs: str) -> str:
        """The method."""
        return inputs


class InferenceService:
    """The reference's service."""

    @modal.enter()
    def load_model(self) -> None:
        """Nothing: only the definition counts."""

    @modal.batched(max_batch_size=32, wait_ms=100)
    async def predict(self, inputs: list[str]) -> list[str]:
        """The method."""
        return inputs


CASES: dict[str, tuple[str, str, Any, Options]] = {
    "the reference's": ("L40S --keep-warm 300", BATCHED, InferenceService, {"gpu": "L40S", "scaledown_window": 300}),
    "by --batch": (
        "L40S --keep-warm 300 --batch 32 --wait-ms 100",
        f"async {PLAIN}",
        InferenceService,
        {"gpu": "L40S", "scaledown_window": 300},
    ),
    "plain": ("H100:2 --keep-warm 60", PLAIN, Plain, {"gpu": "H100:2", "scaledown_window": 60}),
    "fallbacks": (
        "H100 A100-80GB --keep-warm 60",
        PLAIN,
        Plain,
        {"gpu": ["H100", "A100-80GB"], "scaledown_window": 60},
    ),
    "how many": (
        "T4 --keep-warm 60 --min 2 --max 5",
        PLAIN,
        Plain,
        {"gpu": "T4", "scaledown_window": 60, "min_containers": 2, "max_containers": 5},
    ),
    "several at once": (
        "T4 --keep-warm 60 --concurrent 8",
        PLAIN,
        modal.concurrent(max_inputs=8)(type("Concurrent", (), dict(vars(Plain)))),
        {"gpu": "T4", "scaledown_window": 60},
    ),
    "a time limit": (
        "T4 --keep-warm 60 --timeout 90",
        PLAIN,
        Plain,
        {"gpu": "T4", "scaledown_window": 60, "timeout": 90, "startup_timeout": 3600},
    ),
    "the machine's rest": (
        "T4 --keep-warm 60 --cpu 2 --memory 4GiB --volume data:/data",
        PLAIN,
        Plain,
        {
            "gpu": "T4",
            "scaledown_window": 60,
            "cpu": 2.0,
            "memory": 4096,
            "volumes": {"/data": modal.Volume.from_name("data", create_if_missing=True)},
        },
    ),
}


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorder]:
    """One control plane for all."""
    home = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_DATA_HOME", str(home))
        with Recorder() as started:
            yield started


@pytest.mark.parametrize(("line", "cell", "by_hand", "options"), CASES.values(), ids=CASES.keys())
def test_a_service_creates_the_class_that_hand_written_code_creates(
    recorder: Recorder, line: str, cell: str, by_hand: Any, options: Options
) -> None:
    assert _definitions(_ours(recorder, line, cell)) == _definitions(_theirs(recorder, by_hand, options))


def test_the_references_service_in_figures(recorder: Recorder) -> None:
    line, cell, _, _ = CASES["the reference's"]
    (definition,) = _definitions(_ours(recorder, line, cell))
    assert definition["gpu"] == ("L40S", 1)
    assert definition["batching"] == (32, 100)
    assert definition["scaling"][3] == 300


def _ours(recorder: Recorder, line: str, cell: str) -> Any:
    parsed = parse(f"{line} --service embed")
    given = parsed.options
    batch = Batch(given.batch, given.wait_ms or 100) if given.batch else None
    methods, helpers = methods_of_cell(tree_of(cell), batch)
    serving = Serving(
        methods,
        helpers,
        given.min_containers,
        given.max_containers,
        given.concurrent,
        given.timeout or 3600,
    )
    program = Program("embed", cell, tuple(method.name for method in methods))
    machine = replace(inherit(None, parsed, {}, {}), cache=False)
    app = ServiceApp(machine, recorder.backend, (), serving, program)
    recorder.requests.clear()
    app.open()
    app.close()
    return recorder.requests["FunctionCreate"]


def _theirs(recorder: Recorder, by_hand: Any, options: Options) -> Any:
    app = modal.App()
    app.cls(serialized=True, **{"timeout": 3600, **options})(by_hand)
    recorder.requests.clear()
    with app.run(client=recorder.client):
        pass
    return recorder.requests["FunctionCreate"]


def _definitions(created: Any) -> list[dict[str, Any]]:
    """What a user of Modal decides about a class; ids are equal because the control plane is the same."""
    (request,) = created
    ranked = sorted(request.function_data.ranked_functions, key=lambda each: each.rank)
    return [_definition(each, request) for each in [r.function for r in ranked] or [request.function]]


def _definition(function: Any, request: Any) -> dict[str, Any]:
    scaling = function.autoscaler_settings
    data = request.function_data if request.HasField("function_data") else request.function
    return {
        "gpu": (function.resources.gpu_config.gpu_type, function.resources.gpu_config.count),
        "cpu": function.resources.milli_cpu,
        "memory": function.resources.memory_mb,
        "volumes": [(mount.volume_id, mount.mount_path) for mount in function.volume_mounts],
        "timeout": (function.timeout_secs, function.startup_timeout_secs),
        "scaling": (
            scaling.min_containers,
            scaling.max_containers,
            scaling.buffer_containers,
            scaling.scaledown_window,
        ),
        "batching": (function.batch_max_size, function.batch_linger_ms),
        "concurrency": (function.max_concurrent_inputs, function.target_concurrent_inputs),
        "methods": {name: each.function_type for name, each in data.method_definitions.items()},
        "is a class": function.is_class,
    }
