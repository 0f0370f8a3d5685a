"""Machine, and how a header inherits from the one before: what is given is replaced, packages are added."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from modal_gpu_magic.errors import MachineError
from modal_gpu_magic.line.parse import parse
from modal_gpu_magic.line.spec import GpuSpec
from modal_gpu_magic.plan.machine.definition import Machine, differences, inherit, not_applied, specs_text
from modal_gpu_magic.plan.machine.quote import default_keep_warm
from modal_gpu_magic.session.run.sizing import hourly_of

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def after(*lines: str, environ: dict[str, str] | None = None, images: dict[str, Any] | None = None) -> Machine:
    """The session's machine after cells with these headers."""
    machine: Machine | None = None
    for line in lines:
        machine = inherit(machine, parse(line), images or {}, environ or {})
    assert machine is not None
    return machine


@pytest.mark.parametrize(
    "options, said",
    [
        (dict(keep_warm=1), "2 to 3600 s"),
        (dict(keep_warm=3601), "2 to 3600 s"),
        (dict(volumes={"d": "data"}), "absolute: d:/data"),
        (dict(volumes={"a": "/d", "b": "/d"}), "same path"),
        (
            dict(python="3.9"),
            rf"Python would be 3.9, and this notebook's is {PYTHON}.*Remove --python, or start a kernel",
        ),
        (dict(pip="einops"), r"pip=\['einops'\]"),
        (dict(secrets="hf"), r"secrets=\['hf'\]"),
    ],
)
def test_what_modal_would_refuse_is_refused_here(options: dict[str, Any], said: str) -> None:
    with pytest.raises(MachineError, match=said):
        Machine.of("H100", **options)


@pytest.mark.parametrize("keep_warm", [2, 3600, None])
def test_the_bounds_of_keep_warm_are_allowed(keep_warm: int | None) -> None:
    assert Machine(keep_warm=keep_warm).keep_warm == keep_warm


def test_a_machine_from_plain_python_is_the_one_of_the_line() -> None:
    made = Machine.of("h100:2", "A100-80GB", pip=["einops"], volumes={"d": "/d"}, env={"A": "1"}, secrets=("hf",))
    assert made == after("H100:2 A100-80GB --pip einops --volume d:/d --env A=1 --secret hf")
    assert len({made, Machine.of("H100:2", "A100-80GB")}) == 2


@pytest.mark.parametrize(
    "specs, argument, title, text",
    [
        ((), None, "CPU", ""),
        (("H100",), "H100", "H100", "H100"),
        (("H100!:2",), "H100!:2", "H100!:2", "H100!:2"),
        (("H100:2", "A100-80GB"), ["H100:2", "A100-80GB"], "H100:2", "H100:2 A100-80GB"),
    ],
)
def test_gpus_for_modal_and_for_the_reader(specs: tuple[str, ...], argument: object, title: str, text: str) -> None:
    machine = Machine.of(*specs)
    assert (machine.gpu_argument, machine.title, specs_text(machine.gpus)) == (argument, title, text)


def test_scaledown_is_what_was_asked_or_the_default() -> None:
    assert Machine.of("H100", keep_warm=7).scaledown == 7
    assert Machine.of("H100").scaledown == default_keep_warm((GpuSpec("H100"),))
    assert Machine.of("T4").scaledown == 300


FIRST = "H100 --volume d:/d --pip einops --secret hf --env A=1"


@pytest.mark.parametrize(
    "line", ["", "H100", "H100 --timeout 2h", "--pip einops", "--keep-warm 60", FIRST, "# nothing"]
)
def test_a_header_that_asks_for_the_same_makes_no_other_machine(line: str) -> None:
    assert differences(after(FIRST), after(FIRST, line)) == ()


@pytest.mark.parametrize(
    "line, said",
    [
        ("A100-80GB", ("GPU H100 -> A100-80GB",)),
        ("H100 L4", ("GPU H100 -> H100, L4",)),
        ("--volume e:/e", ("volume d:/d -> e:/e",)),
        ("--secret other", ("secret hf -> other",)),
        ("--cpu 2", ("cpu none -> 2.0",)),
        ("--image slim", ("image torch -> slim",)),
        ("A10 --memory 1GiB", ("GPU H100 -> A10", "memory none -> 1024")),
    ],
)
def test_what_differs_is_said(line: str, said: tuple[str, ...]) -> None:
    assert differences(after(FIRST), after(FIRST, line)) == said


def test_packages_are_added_once_and_need_no_other_machine() -> None:
    machine = after("H100 --pip einops", "--pip timm,einops", "--pip rich")
    assert machine.pip == ("einops", "timm", "rich")
    assert differences(after("H100 --pip einops"), machine) == ()


def test_a_session_keeps_what_a_header_does_not_name() -> None:
    machine = after("H100 --region us-east --cpu 4 --keep-warm 90", "A10", "--memory 2GiB")
    assert machine == Machine.of("A10", region="us-east", cpu=4.0, keep_warm=90, memory=2048)


@pytest.mark.parametrize("word", ["any", "anywhere", "Any"])
def test_a_header_takes_back_a_session_s_region(word: str) -> None:
    assert after("H100 --region us-east", f"--region {word}") == Machine.of("H100")
    assert after("H100", f"--region {word}") == Machine.of("H100")
    assert differences(after("H100 --region eu"), after("H100 --region eu", "--region any")) == ("region eu -> none",)


def test_a_region_multiplies_every_price_of_a_machine() -> None:
    anywhere, broad = (Machine.of("H100:8", "H200:8", nodes=2, region=region) for region in (None, "us"))
    assert broad.per_hour == pytest.approx((anywhere.per_hour or 0) * 1.5)
    assert broad.first_per_hour == pytest.approx((anywhere.first_per_hour or 0) * 1.5)
    assert Machine.of("H100", region="us").price_text == "$5.92/h"
    assert hourly_of(Machine.of("T4", region="us-west"), "cloud", ()) == pytest.approx(0.5904 * 1.75)


def test_a_value_of_the_environment_comes_from_here() -> None:
    environ = {"TOKEN": "hush", "EMPTY": ""}
    machine = after("H100 --env TOKEN --env EMPTY --env B=2", environ=environ)
    assert dict(machine.env) == {"TOKEN": "hush", "EMPTY": "", "B": "2"}


def test_one_that_is_not_set_is_refused_with_the_way_out() -> None:
    with pytest.raises(MachineError, match=r"write --env TOKEN=VALUE"):
        after("H100 --env TOKEN")


@pytest.mark.parametrize("before, later", [("--env KEY=hush", "--env KEY=louder"), ("", "--env KEY=hush")])
def test_values_of_the_environment_are_never_shown(before: str, later: str) -> None:
    (said,) = differences(after(before), after(before, later))
    assert said == "environment KEY"


def test_an_image_of_the_notebook_goes_by_its_variable() -> None:
    image = object()
    machine = after("H100 --image mine", images={"mine": image})
    assert (machine.image, machine.image_object) == ("variable:mine", image)
    again = after("H100 --image mine", images={"mine": object()})
    assert machine == again
    assert differences(machine, again) == ()


@pytest.mark.parametrize("line", ["--image slim", "--image python:3.12", "--image other"])
def test_another_image_takes_the_place_of_the_variable(line: str) -> None:
    """Left behind, the variable's image would be what is built."""
    machine = after("H100 --image mine", line, images={"mine": object()})
    assert machine.image == line.rsplit(maxsplit=1)[-1]
    assert machine.image_object is None


@pytest.mark.parametrize(
    "line, said",
    [
        ("H100", ()),
        ("H100 --pip einops --env A=1 --volume d:/d --image cuda", ()),
        ("H100 --image python:3.12", ("the image python:3.12",)),
        ("H100 --image ubuntu", ("the image ubuntu",)),
        ("H100 --image mine", ()),
        (f"H100 --apt git,ffmpeg --run 'make it' --python {PYTHON}", ("apt ffmpeg, git", "run make it")),
    ],
)
def test_what_the_local_backend_leaves_out_is_said(line: str, said: tuple[str, ...]) -> None:
    assert not_applied(after(line, images={"mine": object()})) == said
