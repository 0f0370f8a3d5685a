"""The program a dry run shows: Python that compiles, with the machine's arguments in it."""

from __future__ import annotations

import ast
import sys

import pytest

from modal_gpu_magic.line.parse import parse
from modal_gpu_magic.plan.machine.definition import Machine, inherit
from modal_gpu_magic.plan.program import program

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

SOURCES = {
    "nothing": "",
    "a comment alone": "# hm",
    "header": "# %%modal_gpu H100\n\ny = x + 1",
    "block": "for i in range(3):\n    y = i\n\nelse:\n    y = 0",
    "text over lines": 't = """a\n  b"""',
    "await": "import asyncio\nawait asyncio.sleep(0)",
    "async for": "async for x in y: pass",
    "await in a function": "async def f():\n    await g()",
    "braces": "d = {'a': f'{x}'}",
}


def shown(line: str = "H100", source: str = "y = x", pip: tuple[str, ...] = ()) -> str:
    machine = inherit(None, parse(line), {"mine": object()}, {"KEY": "hush"})
    return program(machine, source, ["x"], ["y", "z"], 90.0, pip, {"torch": "2.13.0"}.get)


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES.keys())
def test_it_compiles(source: str) -> None:
    text = shown(source=source)
    compile(text, "<dry run>", "exec")
    assert text.count("return {") == 1
    assert "cell(x):" in text
    assert '"y": y, "z": z' in text


@pytest.mark.parametrize(
    "source, kind",
    [("y = 1", "FunctionDef"), (SOURCES["await in a function"], "FunctionDef"), ("await x", "AsyncFunctionDef")],
)
def test_a_cell_that_awaits_is_an_async_function(source: str, kind: str) -> None:
    kinds = [
        type(node).__name__ for node in ast.parse(shown(source=source)).body if getattr(node, "name", "") == "cell"
    ]
    assert kinds == [kind]


@pytest.mark.parametrize(
    "line, parts",
    [
        ("H100:2", ["gpu='H100:2'", "timeout=90", "image=image", "startup_timeout=1200"]),
        ("H100 --start-timeout 40m", ["startup_timeout=2400"]),
        ("H100 A10", ["gpu=['H100', 'A10']"]),
        ("H100 --keep-warm 60", ["scaledown_window=60"]),
        ("H100 --volume d:/d", ['volumes={"/d": modal.Volume.from_name("d", create_if_missing=True)}']),
        ("H100 --secret hf", ['secrets=[modal.Secret.from_name("hf")]']),
        ("H100 --cpu 2 --memory 1GiB --region us-east", ["cpu=2.0", "memory=1024", "region='us-east'"]),
        ("H100", ["debian_slim().pip_install('torch==2.13.0')"]),
        ("H100 --image slim", ["image = modal.Image.debian_slim()\n"]),
        (f"H100 --image slim --python {PYTHON}", [f"debian_slim(python_version='{PYTHON}')"]),
        ("H100 --image cuda", ["from_registry('nvidia/cuda:12.8.1-devel-ubuntu24.04'"]),
        ("H100 --image ubuntu", [f"from_registry('ubuntu', add_python='{PYTHON}').entrypoint([])"]),
        ("H100 --image mine", ["image = mine\n"]),
        ("H100 --pip einops", [".pip_install('einops')"]),
        ("H100 --apt git --run 'make it'", [".apt_install('git').run_commands('make it')"]),
        ("H100 --env KEY", [".env({'KEY': ...})"]),
    ],
)
def test_the_machine_is_in_it(line: str, parts: list[str]) -> None:
    text = shown(line)
    compile(text, "<dry run>", "exec")
    assert [part for part in parts if part not in text] == []


def test_a_cpu_machine_asks_for_no_gpu() -> None:
    assert "gpu=" not in shown("")


def test_packages_of_the_header_and_of_the_cell_are_named_once() -> None:
    assert ".pip_install('einops').pip_install('rich==13.0')" in shown(
        "H100 --pip einops", pip=("einops", "rich==13.0")
    )


def test_values_of_the_environment_are_not_in_it() -> None:
    assert "hush" not in shown("H100 --env KEY")


def test_without_a_timeout_none_is_written() -> None:
    assert " timeout" not in program(Machine(), "pass", [], [], None, [], lambda _: None)
