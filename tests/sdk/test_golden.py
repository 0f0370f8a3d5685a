"""What `%%modal_gpu ...` creates at Modal equals what the hand-written code of Modal's own guide creates.

Meant differences, and no others: a timeout of 24 h, one container a session, one more image layer, our own code, and
the cache Volume of GPU machines (off in the cases, which compare Volumes).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import modal
import pytest

from modal_gpu_magic.catalog.flash_attn import WHEELS
from modal_gpu_magic.catalog.images import PRESETS
from modal_gpu_magic.catalog.limits import FUNCTION_TIMEOUT, SESSION_MOUNT
from modal_gpu_magic.line.parse import parse
from modal_gpu_magic.line.spec import GpuSpec
from modal_gpu_magic.plan.machine.definition import Machine, inherit
from modal_gpu_magic.plan.machine.layers import pinned
from modal_gpu_magic.plan.machine.quote import default_keep_warm
from modal_gpu_magic.sdk.app import OpenApp
from modal_gpu_magic.sdk.image import RUNTIME_PACKAGES, local_version
from modal_gpu_magic.sdk.session_volume import SessionVolume
from modal_gpu_magic.wire.messages.cache import PATH, VOLUME
from tests.sdk.recorder import Recorder

TORCH = pinned("torch", local_version)
MINOR = sys.version_info.minor
PYTHON = f"3.{MINOR}"
CUDA_12, CUDA_13 = "nvidia/cuda:12.8.1-devel-ubuntu24.04", "nvidia/cuda:13.0.2-devel-ubuntu24.04"
WHEEL = (
    "https://github.com/Dao-AILab/flash-attention/releases/download/v2.8.3/"
    f"flash_attn-2.8.3+cu12torch2.8cxx11abiTRUE-cp3{MINOR}-cp3{MINOR}-linux_x86_64.whl"
)
ENVIRON = {"FROM_HERE": "value"}

Options = Callable[[], dict[str, Any]]

CASES: dict[str, tuple[str, Options]] = {
    "one GPU": ("H100", lambda: {"gpu": "H100"}),
    "A100": ("A100", lambda: {"gpu": "A100"}),
    "several": ("H100:8", lambda: {"gpu": "H100:8"}),
    "fallbacks": ("H100 A100-80GB A100-40GB:2", lambda: {"gpu": ["H100", "A100-80GB", "A100-40GB:2"]}),
    "40 GB": ("A100-40GB", lambda: {"gpu": "A100-40GB"}),
    "80 GB": ("a100-80gb", lambda: {"gpu": "A100-80GB"}),
    "strict": ("H100!", lambda: {"gpu": "H100!"}),
    "strict, several": ("H100!:2", lambda: {"gpu": "H100!:2"}),
    "every other GPU": (
        "T4 L4 A10 L40S H200 B200",
        lambda: {"gpu": ["T4", "L4", "A10", "L40S", "H200", "B200"]},
    ),
    "volume": (
        "H100 --volume data:/data",
        lambda: {"gpu": "H100", "volumes": {"/data": modal.Volume.from_name("data", create_if_missing=True)}},
    ),
    "secret": ("H100 --secret hf", lambda: {"gpu": "H100", "secrets": [modal.Secret.from_name("hf")]}),
    "keep-warm": ("L40S --keep-warm 300", lambda: {"gpu": "L40S", "scaledown_window": 300}),
    "cpu and memory": ("T4 --cpu 2 --memory 4GiB", lambda: {"gpu": "T4", "cpu": 2.0, "memory": 4096}),
    "packages": (
        "H100 --apt ffmpeg --pip einops",
        lambda: {
            "gpu": "H100",
            "image": modal.Image.debian_slim().pip_install(TORCH).apt_install("ffmpeg").pip_install("einops"),
        },
    ),
    "every layer": (
        "T4 --env A=1 --run 'make it' --run 'make more' --pip einops,timm --apt git,ffmpeg",
        lambda: {
            "gpu": "T4",
            "image": modal.Image.debian_slim()
            .pip_install(TORCH)
            .apt_install("ffmpeg", "git")
            .pip_install("einops", "timm")
            .run_commands("make it", "make more")
            .env({"A": "1"}),
        },
    ),
    "slim": ("--image slim", lambda: {"image": modal.Image.debian_slim()}),
    "registry": (
        f"H100 --image {CUDA_12} --python {PYTHON}",
        lambda: {"gpu": "H100", "image": modal.Image.from_registry(CUDA_12, add_python=PYTHON).entrypoint([])},
    ),
    "CUDA toolkit": (
        "H100 --image cuda --pip triton",
        lambda: {
            "gpu": "H100",
            "image": modal.Image.from_registry(CUDA_12, add_python=PYTHON).entrypoint([]).pip_install("triton"),
        },
    ),
    "JAX": (
        "L4 --image jax",
        lambda: {"gpu": "L4", "image": modal.Image.debian_slim().pip_install(pinned("jax[cuda12]", local_version))},
    ),
    "flash-attn, compiled for CUDA 12": (
        "H100 --image cuda --pip flash-attn,torch==2.10.0",
        lambda: {"gpu": "H100", "image": compiled(CUDA_12, "torch==2.10.0")},
    ),
    "flash-attn, compiled for CUDA 13": (
        "H100 --image flash-attn --pip torch==2.13.0",
        lambda: {"gpu": "H100", "image": compiled(CUDA_13, "torch==2.13.0")},
    ),
    "environment": (
        "T4 --env A=1 --env FROM_HERE",
        lambda: {
            "gpu": "T4",
            "image": modal.Image.debian_slim().pip_install(TORCH).env({"A": "1", "FROM_HERE": "value"}),
        },
    ),
}


CLUSTERS: dict[str, tuple[str, int, bool, Options]] = {
    "cluster": (
        "H100:8 --nodes 4 --torchrun",
        4,
        True,
        lambda: {
            "gpu": "H100:8",
            "image": modal.Image.debian_slim().pip_install(TORCH).apt_install("ibverbs-providers", "libibverbs1"),
        },
    ),
    "cluster, no RDMA": ("H100:8 --nodes 2 --no-rdma", 2, False, lambda: {"gpu": "H100:8"}),
    "cluster without RDMA": ("A100-80GB:8 --nodes 2", 2, False, lambda: {"gpu": "A100-80GB:8"}),
}

if PRESETS["vllm"].least_python <= MINOR:
    CASES["vLLM"] = (
        "H100 --image vllm",
        lambda: {
            "gpu": "H100",
            "image": modal.Image.from_registry(CUDA_13, add_python=PYTHON).entrypoint([]).pip_install("vllm==0.33.0"),
        },
    )
if MINOR in WHEELS[2, 8][1]:
    CASES["flash-attn from its wheel"] = (
        "H100 --image flash-attn --pip torch==2.8.0",
        lambda: {
            "gpu": "H100",
            "image": modal.Image.from_registry(CUDA_12, add_python=PYTHON)
            .entrypoint([])
            .pip_install("torch==2.8.0")
            .pip_install(WHEEL),
        },
    )


def compiled(reference: str, torch: str) -> modal.Image:
    """flash-attn as Modal's guide compiles it: torch first, its build tools, no isolation."""
    return (
        modal.Image.from_registry(reference, add_python=PYTHON)
        .entrypoint([])
        .pip_install(torch)
        .pip_install("ninja", "packaging", "setuptools", "wheel")
        .pip_install("flash-attn", extra_options="--no-build-isolation", env={"MAX_JOBS": "4"})
    )


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorder]:
    """One control plane for all, with the secret that a case names."""
    home = tmp_path_factory.mktemp("config")
    (home / "modal_gpu_magic").mkdir()
    (home / "modal_gpu_magic" / "secrets.json").write_text('{"hf": {"HF_TOKEN": "x"}}')
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_CONFIG_HOME", str(home))
        environment.setenv("XDG_DATA_HOME", str(home))
        with Recorder() as started:
            yield started


@pytest.mark.parametrize(("line", "options"), CASES.values(), ids=CASES.keys())
def test_a_header_creates_the_function_that_hand_written_code_creates(
    recorder: Recorder, line: str, options: Options
) -> None:
    ours, our_layers = _ours(recorder, line)
    by_hand = options()
    by_hand["volumes"] = {**by_hand.get("volumes", {}), SESSION_MOUNT: recorder.backend.session_volume()}
    theirs, their_layers = _theirs(recorder, by_hand)
    assert _definition(ours) == _definition(theirs)
    assert our_layers[: len(their_layers)] == their_layers
    assert [command for layer in our_layers[len(their_layers) :] for command in layer] == _last_layer()


def test_without_saving_a_function_mounts_what_the_header_says(recorder: Recorder) -> None:
    ours, _ = _ours(recorder, "H100 --save 0 --volume data:/data")
    volumes = {"/data": modal.Volume.from_name("data", create_if_missing=True)}
    theirs, _ = _theirs(recorder, {"gpu": "H100", "volumes": volumes})
    assert _definition(ours) == _definition(theirs)


def test_the_session_volume_is_one_ephemeral_volume(recorder: Recorder) -> None:
    """`with modal.Volume.ephemeral(client=client) as volume:` by hand asks for the same."""
    recorder.requests.clear()
    with modal.Volume.ephemeral(client=recorder.client):
        (by_hand,) = recorder.requests["VolumeGetOrCreate"]
    recorder.requests.clear()
    volume = SessionVolume()
    assert volume.open(recorder.client) is volume.open(recorder.client)
    assert recorder.requests["VolumeGetOrCreate"] == [by_hand]
    assert volume.id
    volume.close()


@pytest.mark.parametrize(("line", "size", "rdma", "options"), CLUSTERS.values(), ids=CLUSTERS.keys())
def test_a_cluster_is_the_clustered_function_of_hand_written_code(
    recorder: Recorder, line: str, size: int, rdma: bool, options: Options
) -> None:
    ours, our_layers = _ours(recorder, line)
    clustered = modal.clustered(size=size, rdma=rdma)
    theirs, their_layers = _theirs(recorder, {"timeout": FUNCTION_TIMEOUT, **options()}, clustered)
    assert _definition(ours) == _definition(theirs)
    for created in (ours, theirs):
        (function,) = _functions(created)
        assert function._experimental_group_size == size
        assert function.i6pn_enabled
        assert function.timeout_secs == FUNCTION_TIMEOUT
        assert function.resources.rdma is rdma
    assert sorted(map(str, our_layers[:-1])) == sorted(map(str, their_layers))


def test_the_meant_differences(recorder: Recorder) -> None:
    ours, _ = _ours(recorder, "H100")
    function = _functions(ours)[0]
    assert function.timeout_secs == FUNCTION_TIMEOUT
    assert function.autoscaler_settings.max_containers == 1


@pytest.mark.parametrize(
    "line, paths",
    [
        ("H100", [PATH]),
        ("H100 --volume d:/d --env HF_HOME=/d/hf", ["/d", PATH]),
        ("H100 --image ubuntu:24.04", [PATH]),
        ("", []),
        (f"H100 --volume d:{PATH}", [PATH]),
        ("H100 --volume d:/root/.cache", ["/root/.cache"]),
        (f"H100 --volume {VOLUME}:/mine", ["/mine"]),
    ],
)
def test_a_gpu_machine_has_the_cache_unless_a_volume_takes_its_place(
    recorder: Recorder, line: str, paths: list[str]
) -> None:
    created, _ = _ours(recorder, line, cache=True)
    for function in _functions(created):
        assert sorted(mount.mount_path for mount in function.volume_mounts) == sorted([*paths, SESSION_MOUNT])


@pytest.mark.parametrize("gpus", [["H100"], ["H100", "A100-80GB"], ["L40S", "A10", "T4"]], ids=len)
def test_a_class_and_a_list_of_gpus(recorder: Recorder, gpus: list[str]) -> None:
    """Each ranked function is a class's, as of hand-written code, and a call of a method needs no other RPC."""
    ours, _ = _ours(recorder, " ".join(gpus))
    app = modal.App()

    class ByHand:
        @modal.method()
        def run(self) -> None:
            """Nothing: only its definition counts."""

    app.cls(serialized=True, gpu=gpus if len(gpus) > 1 else gpus[0])(ByHand)
    recorder.requests.clear()
    with app.run(client=recorder.client):
        (theirs,) = recorder.requests["FunctionCreate"]
    for one, other in zip(_functions(ours), _functions(theirs), strict=True):
        assert one.class_parameter_info == other.class_parameter_info
        assert one.is_class
        assert other.is_class
    mine = OpenApp(Machine.of(*gpus), recorder.backend, (), "mine")
    mine.open()
    recorder.requests.clear()
    mine.runner.run.hydrate()
    assert not recorder.requests["FunctionBindParams"]
    mine.close()


def _ours(recorder: Recorder, line: str, *, cache: bool = False) -> tuple[Any, list[list[str]]]:
    machine = replace(inherit(None, parse(line), {}, ENVIRON), cache=cache)
    app = OpenApp(machine, recorder.backend, ())
    recorder.requests.clear()
    app.open()
    app.close()
    return _recorded(recorder)


def _theirs(
    recorder: Recorder, options: dict[str, Any], clustered: Callable[[Any], Any] = lambda function: function
) -> tuple[Any, list[list[str]]]:
    app = modal.App()

    def function() -> None:
        """Nothing: only its definition counts."""

    options.setdefault("image", modal.Image.debian_slim().pip_install(TORCH))
    app.function(serialized=True, **options)(clustered(function))
    recorder.requests.clear()
    with app.run(client=recorder.client):
        pass
    return _recorded(recorder)


def _recorded(recorder: Recorder) -> tuple[Any, list[list[str]]]:
    (created,) = recorder.requests["FunctionCreate"]
    return created, [list(request.image.dockerfile_commands) for request in recorder.requests["ImageGetOrCreate"]]


def _functions(created: Any) -> list[Any]:
    ranked = sorted(created.function_data.ranked_functions, key=lambda each: each.rank)
    return [each.function for each in ranked] or [created.function]


def _definition(created: Any) -> list[dict[str, Any]]:
    """What a user of Modal decides about a Function; ids are equal because the control plane is the same."""
    return [
        {
            "gpu": (function.resources.gpu_config.gpu_type, function.resources.gpu_config.count),
            "cpu": function.resources.milli_cpu,
            "memory": function.resources.memory_mb,
            "volumes": [(mount.volume_id, mount.mount_path) for mount in function.volume_mounts],
            "secrets": list(function.secret_ids),
            "regions": list(function.scheduler_placement.regions),
            "idle": function.autoscaler_settings.scaledown_window or _default_idle(created),
        }
        for function in _functions(created)
    ]


def _default_idle(created: Any) -> int:
    """Hand-written code that says nothing gets Modal's default; a session's own default is meant, so it counts as that."""
    gpus = [function.resources.gpu_config for function in _functions(created)]
    return default_keep_warm([GpuSpec.parse(f"{gpu.gpu_type}:{gpu.count}") for gpu in gpus if gpu.count])


def _last_layer() -> list[str]:
    pins = " ".join(sorted(f"{package}=={local_version(package)}" for package in RUNTIME_PACKAGES))
    return ["FROM base", f"RUN python -m pip install {pins}"]
