"""The layers of an image: their order, whose version of a package holds, and how flash-attn gets in."""

from __future__ import annotations

import sys

import pytest

from modal_gpu_magic.catalog import flash_attn
from modal_gpu_magic.catalog.images import PRESETS
from modal_gpu_magic.errors import MachineError
from modal_gpu_magic.line.parse import parse
from modal_gpu_magic.plan.machine.definition import Machine, inherit
from modal_gpu_magic.plan.machine.layers import base, compiles, layers, pinned

HERE = {"torch": "2.13.0", "rich": "15.0", "jax": "0.10.2", "numpy": "2.4.6"}
"""What the notebook has installed, in these tests."""

MINOR = sys.version_info.minor
WHEEL = flash_attn.WHEELS[2, 8][1]
"""Minors of Python with a wheel for torch 2.8."""


def machine(line: str) -> Machine:
    return inherit(None, parse(line), {"mine": object()}, {})


def chain(line: str, *packages: str) -> list[str]:
    """The layers of a header on top of its base, as text."""
    return [str(step)[1:] for step in layers(machine(line), packages, HERE.get, ("ipython",))]


@pytest.mark.parametrize(
    "package, text",
    [
        ("rich", "rich==15.0"),
        ("rich==1", "rich==1"),
        ("rich>=1", "rich>=1"),
        ("rich[jupyter]", "rich[jupyter]==15.0"),
        ("no-such-package-here", "no-such-package-here"),
        ("git+https://github.com/a/b@main", "git+https://github.com/a/b@main"),
    ],
)
def test_a_package_is_pinned_to_the_notebooks_version(package: str, text: str) -> None:
    assert pinned(package, HERE.get) == text


def test_what_changes_least_comes_first() -> None:
    assert chain("--env A=1 --run 'make it' --pip einops --apt ffmpeg", "pandas==3.0") == [
        "pip_install('torch==2.13.0')",
        "apt_install('ffmpeg')",
        "pip_install('einops')",
        "run_commands('make it')",
        "env({'A': ...})",
        "pip_install('pandas==3.0')",
    ]


@pytest.mark.parametrize(
    "line, imports, expected",
    [
        ("", ("torch==2.13.0",), ["pip_install('torch==2.13.0')"]),
        ("--pip torch==2.8.0", ("torch==2.13.0",), ["pip_install('torch==2.8.0')"]),
        (
            "--image slim --pip numpy==1.26",
            ("numpy==2.4.6", "rich==15.0"),
            ["pip_install('numpy==1.26')", "pip_install('rich==15.0')"],
        ),
        (
            "--image jax",
            ("jax==0.10.2", "numpy==2.4.6"),
            ["pip_install('jax[cuda12]==0.10.2')", "pip_install('numpy==2.4.6')"],
        ),
        ("--image slim", ("ipython==9", "rich==15.0", "rich==15.0"), ["pip_install('rich==15.0')"]),
        ("--image slim", (), []),
        ("--image mine --pip einops", (), ["pip_install('einops')"]),
    ],
)
def test_one_version_of_a_package_the_headers_before_the_presets_before_the_cells(
    line: str, imports: tuple[str, ...], expected: list[str]
) -> None:
    assert chain(line, *imports) == expected


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_a_base(name: str) -> None:
    preset, made = PRESETS[name], machine(f"--image {name}")
    if preset.least_python > MINOR:
        with pytest.raises(MachineError, match=f"{name} needs Python 3.{preset.least_python} or newer"):
            base(made, (), HERE.get)
        return
    first, *rest = map(str, base(made, (), HERE.get))
    assert first.startswith(".from_registry('nvidia/cuda:" if preset.reference else ".debian_slim()")
    assert rest == ([".entrypoint([])"] if preset.reference else [])
    assert f"add_python='3.{MINOR}'" in first or not preset.reference


def test_what_vllm_brings_is_not_asked_for_at_the_notebooks_version() -> None:
    assert chain("--image vllm", "torch==2.13.0", "numpy==2.4.6", "rich==15.0") == [
        "pip_install('vllm==0.33.0')",
        "pip_install('rich==15.0')",
    ]


COMPILED = [
    "pip_install('ninja', 'packaging', 'setuptools', 'wheel')",
    "pip_install('flash-attn', extra_options='--no-build-isolation', env={'MAX_JOBS': '4'})",
]


@pytest.mark.parametrize(
    "line", ["--image flash-attn --pip einops,torch==2.8.0", "--image cuda --pip flash-attn,torch==2.8.0,einops"]
)
def test_flash_attn_comes_behind_torch_from_a_wheel_where_there_is_one(line: str) -> None:
    first, *rest = chain(line, "torch==2.13.0")
    assert first == "pip_install('torch==2.8.0')"
    assert rest[-1] == "pip_install('einops')"
    if MINOR in WHEEL:
        (wheel,) = rest[:-1]
        assert f"/v2.8.3/flash_attn-2.8.3+cu12torch2.8cxx11abiTRUE-cp3{MINOR}-cp3{MINOR}-linux_x86_64.whl" in wheel
    else:
        assert rest[:-1] == COMPILED


@pytest.mark.parametrize(
    "line",
    [
        "--image flash-attn",
        "--image cuda --pip flash-attn",
        "--image a/b:1 --pip flash-attn",
        "--image mine --pip flash-attn",
    ],
)
def test_without_a_wheel_it_is_compiled_behind_torch_without_isolation(line: str) -> None:
    assert chain(line) == ["pip_install('torch==2.13.0')", *COMPILED]
    said = compiles(machine(line), HERE.get)
    assert said.startswith(f"flash-attn has no known release wheel for torch 2.13.0, Python 3.{MINOR}: it is compiled")
    assert said.endswith(
        '; --pip "torch==2.9.0" has one.' if MINOR == 12 else " has one." if MINOR in WHEEL else "once."
    )


@pytest.mark.parametrize(
    "line", ["", "--image flash-attn --pip torch==2.8.0" if MINOR in WHEEL else "--image cuda", "--image vllm"]
)
def test_where_nothing_is_compiled_nothing_is_said(line: str) -> None:
    assert compiles(machine(line), HERE.get) == ""


@pytest.mark.parametrize(
    "line, cuda",
    [
        ("--image cuda", "12.8.1"),
        ("--image cuda --pip flash-attn,torch==2.10.0", "12.8.1"),
        ("--image cuda --pip flash-attn,torch==2.11.0", "13.0.2"),
        ("--image flash-attn", "13.0.2"),
        ("--image flash-attn --pip torch>=2", "13.0.2"),
    ],
)
def test_it_is_compiled_with_the_cuda_that_torch_is_built_with(line: str, cuda: str) -> None:
    assert f"'nvidia/cuda:{cuda}-devel-ubuntu24.04'" in str(base(machine(line), (), HERE.get)[0])


def test_flash_attn_that_a_cell_imports_is_built_as_if_it_were_asked_for() -> None:
    imported = "flash-attn==2.8.3"
    assert chain("--image cuda", imported, "einops") == [
        *chain(f"--image cuda --pip {imported}"),
        "pip_install('einops')",
    ]
    assert base(machine("--image cuda"), (imported,), HERE.get) == base(
        machine(f"--image cuda --pip {imported}"), (), HERE.get
    )
    with pytest.raises(MachineError, match="has no nvcc"):
        chain("", imported)


@pytest.mark.parametrize("line", ["--pip flash-attn", "--image slim --pip flash-attn==2.7.0,torch==2.8.0"])
def test_an_image_that_cannot_compile_is_refused_with_the_ways_out(line: str) -> None:
    with pytest.raises(MachineError, match=r"has no nvcc; write --image flash-attn"):
        chain(line)


def test_another_version_of_flash_attn_has_no_wheel() -> None:
    assert any("flash-attn==2.7.0" in step for step in chain("--image cuda --pip flash-attn==2.7.0,torch==2.8.0"))


@pytest.mark.parametrize(
    "torch, python, there",
    [
        ("2.8.0", 13, True),
        ("2.8.1", 10, True),
        ("2.8.0", 14, False),
        ("2.9.1", 12, True),
        ("2.9.1", 11, False),
        ("2.13.0", 12, False),
        (None, 12, False),
        ("nightly", 12, False),
    ],
)
def test_the_table_of_wheels(torch: str | None, python: int, there: bool) -> None:
    found = flash_attn.wheel(torch, python)
    assert bool(found) is there
    assert found is None or found.endswith(f"-cp3{python}-cp3{python}-linux_x86_64.whl")
