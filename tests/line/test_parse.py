"""Whole lines: what they come to, in whatever order they are written, and back to text."""

from __future__ import annotations

import keyword
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modal_gpu_magic.errors import LineError, masked
from modal_gpu_magic.line.options import OPTIONS, Option, Options
from modal_gpu_magic.line.parse import Line, parse
from modal_gpu_magic.line.spec import GpuSpec

Refused = Callable[[Callable[[], object]], "LineError | None"]


@pytest.mark.parametrize(
    "line, specs",
    [
        ("", ""),
        ("   # nothing", ""),
        ("H100:2", "H100:2"),
        ("h100, a100-80gb a100-40gb:2", "H100 A100-80GB A100-40GB:2"),
        ("H100,A100 , L4,", "H100 A100 L4"),
        ('"H100:2" L4', "H100:2 L4"),
        ("H100! H100", "H100! H100"),
        ("H100 H100:2", "H100 H100:2"),
        ("24GB..40GB", "L4 A10 A100-40GB"),
        ("--timeout 2h H100 --quiet L4", "H100 L4"),
        ("H100 #--quiet L4", "H100"),
        ("--pip torch H100", "H100"),
    ],
)
def test_what_gpus_a_line_asks_for(line: str, specs: str) -> None:
    parsed = parse(line)
    assert " ".join(map(str, parsed.specs)) == specs
    assert parsed.machine is None
    assert parsed.text == line


def test_a_line_without_anything_is_the_same_again() -> None:
    assert parse("") == Line()
    assert parse("").options.given() == {}


@pytest.mark.parametrize(
    "line, machine, specs",
    [
        ("big", "big", ()),
        ("big --clean", "big", ()),
        ("H100", None, (GpuSpec("H100"),)),
        ("h100", None, (GpuSpec("H100"),)),
    ],
)
def test_machines_by_name_but_a_gpu_is_a_gpu(line: str, machine: str | None, specs: tuple[GpuSpec, ...]) -> None:
    parsed = parse(line, machines={"big", "H100", "h100"})
    assert (parsed.machine, parsed.specs) == (machine, specs)


VALUES = [
    ("--image torch", "image", "torch"),
    ("--image my_image", "image", "my_image"),
    ("--image nvidia/cuda:12.8.1-devel-ubuntu24.04", "image", "nvidia/cuda:12.8.1-devel-ubuntu24.04"),
    ("--image localhost:5000/x:1@sha256:ab12", "image", "localhost:5000/x:1@sha256:ab12"),
    ("--pip torch", "pip", ("torch",)),
    ("--pip=torch", "pip", ("torch",)),
    ("--pip torch>=2.1,<3", "pip", ("torch>=2.1,<3",)),
    ('--pip "torch>=2.1, <3"', "pip", ("torch>=2.1, <3",)),
    ("--pip einops,torch==2.1,timm", "pip", ("einops", "timm", "torch==2.1")),
    ("--pip jax[cuda12,k8s]>=0.4,einops", "pip", ("einops", "jax[cuda12,k8s]>=0.4")),
    ("--pip timm --pip einops --pip timm", "pip", ("einops", "timm")),
    ("--pip git+https://github.com/a/b@main", "pip", ("git+https://github.com/a/b@main",)),
    ('--pip "b @ https://a.b/c.whl"', "pip", ("b @ https://a.b/c.whl",)),
    ("""--pip 'x; python_version < "3.9"'""", "pip", ('x; python_version < "3.9"',)),
    ("--apt ffmpeg,libsndfile1=1.2-1", "apt", ("ffmpeg", "libsndfile1=1.2-1")),
    ("--run 'make -j' --run 'a, b'", "run", ("make -j", "a, b")),
    ("--run b --run a", "run", ("b", "a")),
    ("--python 3.12", "python", "3.12"),
    ("--volume d:/d", "volumes", (("d", "/d"),)),
    ("--volume d:/d,e.1:/mnt/e --volume c:/c", "volumes", (("c", "/c"), ("d", "/d"), ("e.1", "/mnt/e"))),
    ("--secret hf,wandb", "secrets", ("hf", "wandb")),
    ("--env A=1 --env 'B=x, y' --env HOME --env C=", "env", (("A", "1"), ("B", "x, y"), ("C", ""), ("HOME", None))),
    ("--cpu 4", "cpu", 4.0),
    ("--cpu 0.125", "cpu", 0.125),
    ("--memory 16GiB", "memory", 16384),
    ("--memory 16GB", "memory", 15259),
    ("--region us-east", "region", "us-east"),
    ("--region any", "region", "any"),
    ("--region anywhere", "region", "any"),
    ("--region None", "region", "any"),
    ("--keep-warm 2", "keep_warm", 2),
    ("--save 2GB", "save", 2_000_000_000),
    ("--save 0", "save", 0),
    ("--keep-warm 1h", "keep_warm", 3600),
    ("--start-timeout 40m", "start_timeout", 2400),
    ("--model 13b", "model", "13b"),
    ("--model 350M", "model", "350M"),
    ("--task LORA", "task", "lora"),
    ("--dtype bf16", "dtype", "bf16"),
    ("--budget $2.50/h", "budget", 2.5),
    ("--session big.1", "session", "big.1"),
    ("--backend local", "backend", "local"),
    ("--timeout 1h30m", "timeout", 5400),
    ("--timeout 24h", "timeout", 86400),
    ("--timeout 1", "timeout", 1),
    ("--in x,model", "in_", ("model", "x")),
    ("--no-in y", "no_in", ("y",)),
    ("--out loss,été", "out", ("loss", "été")),
    ("--fetch 1.5GB", "fetch", 1_500_000_000),
    ("--fetch 0", "fetch", 0),
    ("--send 4GB", "send", 4_000_000_000),
    ("--clean", "clean", True),
    ("--move", "move", True),
    ("--torchrun", "torchrun", 0),
    ("--torchrun 4", "torchrun", 4),
    ("--nodes 4", "nodes", 4),
    ("--no-rdma", "no_rdma", True),
    ("--ranks 3,0", "ranks", ("0", "3")),
    ("--ranks all", "ranks", ("all",)),
    ("--service embed", "service", "embed"),
    ("--detach", "detach", True),
    ("--save 5GB", "save", 5_000_000_000),
    ("--dry-run", "dry_run", True),
    ("--bg train", "bg", "train"),
    ("--quiet", "quiet", True),
    ("--allow-unknown-gpu", "allow_unknown_gpu", True),
]


@pytest.mark.parametrize("line, field, value", VALUES, ids=[line for line, _, _ in VALUES])
def test_the_value_of_an_option_and_of_no_other(line: str, field: str, value: Any) -> None:
    options = parse(line).options
    assert options.given() == {field: value}
    assert parse(str(options)).options == options


SERVED = [
    ("--batch 32", "batch", 32),
    ("--batch 8 --wait-ms 0", "wait_ms", 0),
    ("--min 1", "min_containers", 1),
    ("--min 0 --max 4", "max_containers", 4),
    ("--concurrent 16", "concurrent", 16),
]
"""Options that only a service has."""


@pytest.mark.parametrize("line, field, value", SERVED, ids=[line for line, _, _ in SERVED])
def test_the_value_of_a_services_option(line: str, field: str, value: Any) -> None:
    options = parse(f"L40S {line} --service embed").options
    assert options.given()[field] == value
    assert parse(str(options)).options == options


def test_every_option_is_read_above() -> None:
    assert {field for _, field, _ in VALUES + SERVED} == {option.field for option in OPTIONS.values()}


@pytest.mark.parametrize("option", OPTIONS.values(), ids=lambda option: option.flag)
def test_every_option_takes_its_own_example(option: Any) -> None:
    of_a_service = option.field in {field for _, field, _ in SERVED}
    beside = "--service embed --batch 2 " if of_a_service and option.flag != "--batch" else "--service embed "
    given = parse((beside if of_a_service else "") + f"{option.flag} {option.kind.example}").options.given()
    assert option.field in given
    assert of_a_service or list(given) == [option.field]


def test_options_given_by_scope() -> None:
    options = parse("--quiet --pip torch --timeout 2h --env A=1").options
    assert options.given("where") == {"pip": ("torch",), "env": (("A", "1"),)}
    assert options.given("how") == {"timeout": 7200, "quiet": True}
    assert list(options.given()) == ["pip", "env", "timeout", "quiet"]


OPTION_LIKE = [
    "-r x.txt",
    "--index-url https://x",
    "-e .",
    "torch --index-url https://x",
    "torch -f x",
    "torch --pre",
    "einops,-r",
    "x; --hash=sha256:1",
    "https://x.y/z -i q",
]


@pytest.mark.parametrize("value", OPTION_LIKE)
@pytest.mark.parametrize("form", ["--pip '{}'", "--pip='{}'", '--pip einops --pip "{}"'])
def test_no_option_reaches_pip(form: str, value: str) -> None:
    with pytest.raises(LineError, match="option for pip"):
        parse(form.format(value))


@pytest.mark.parametrize(
    "value",
    ["torch;rm", "../x", "/x/y.whl", "$(id)", "torch\nx", "a|b", "a&b", "`id`", "torch=>1", "file:///etc/passwd"],
)
def test_what_is_no_requirement_is_no_package(value: str) -> None:
    if value == "torch;rm":  # a marker, if a wrong one: pip says so
        assert parse(f"--pip '{value}'").options.pip == (value,)
        return
    with pytest.raises(LineError, match="is not a package"):
        parse(f"--pip '{value}'")


names = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)
environment = st.from_regex(r"[A-Z][A-Z0-9_]{0,5}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp", "Zs"]), min_size=1, max_size=6)

CHUNKS = {
    "image": st.sampled_from(["torch", "cuda", "my_image", "a/b:1"]),
    "pip": st.sets(st.sampled_from(["torch>=2.1,<3", "einops", "jax[a,b]", "x @ https://a.b/c"]), min_size=1).map(
        tuple
    ),
    "run": st.lists(texts, min_size=1, max_size=3).map(tuple),
    "volumes": st.dictionaries(names, st.just(None), min_size=1, max_size=3).map(
        lambda given: tuple((name, f"/{name}") for name in given)
    ),
    "env": st.dictionaries(environment, st.none() | texts, min_size=1, max_size=3).map(
        lambda given: tuple(given.items())
    ),
    "model": st.sampled_from(["13B", "7b", "350M", "6.74B"]),
    "budget": st.integers(1, 99_999).map(lambda cents: cents / 100),
    "cpu": st.integers(1, 640).map(lambda eighths: eighths / 8),
    "memory": st.integers(128, 1 << 20),
    "keep_warm": st.integers(2, 3600),
    "timeout": st.integers(1, 86400),
    "in_": st.sets(names.filter(lambda name: not keyword.iskeyword(name)), min_size=1, max_size=3).map(tuple),
    "fetch": st.integers(0, 10**13),
    "clean": st.just(True),
    "quiet": st.just(True),
    "allow_unknown_gpu": st.just(True),
}


def in_order(option: Option, value: Any) -> Any:
    """The value as the parser keeps it: sorted as written, unless the order counts."""
    return tuple(sorted(value, key=option.kind.write)) if option.kind.many and not option.kind.ordered else value


@given(
    st.fixed_dictionaries({}, optional=CHUNKS),
    st.randoms(use_true_random=False),
    st.lists(st.sampled_from(["H100:2", "L4", "b200"]), unique=True),
)
def test_any_chunk_of_options_in_any_order_is_the_same(chunk: dict[str, Any], random: Any, specs: list[str]) -> None:
    by_field = {option.field: option for option in OPTIONS.values()}
    words = [by_field[name].text(value) for name, value in chunk.items()]
    random.shuffle(words)
    line = parse(" ".join((*specs, *words)))
    other = parse(" ".join((*words[::-1], *specs)))
    assert line == other
    assert line.options == Options(**{name: in_order(by_field[name], value) for name, value in chunk.items()})
    assert parse(str(line)) == line


WORDS = [
    *OPTIONS,
    "H100",
    "a10:9",
    "24GB",
    "big",
    "torch",
    "x,y",
    "d:/d",
    "A=1",
    "12h",
    "16GB",
    ",",
    "=",
    "'",
    '"',
    "\\",
    "#",
    " ",
    "-",
    "--",
    ":",
    "!",
    "é",
    "0",
]


@given(
    st.text(max_size=30)
    | st.lists(st.sampled_from(WORDS), max_size=8).map("".join)
    | st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)
)
def test_any_text_is_a_line_or_a_line_error_with_a_place(refused: Refused, text: str) -> None:
    error = refused(lambda: parse(text, machines=("big",)))
    if error:
        assert error.line == masked(text)
        assert 0 <= error.start <= error.end <= len(text)
        assert error.message
    else:
        line = parse(text, machines=("big",))
        assert parse(str(line), machines=("big",)) == line


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--bg", "--bg needs a value; write for example --bg train."),
        ("--bg --quiet", "--bg needs a value; write for example --bg train."),
        ("--bg 3x", "3x is not the name of a variable; write x."),
        ("--bg class", "class is not the name of a variable; write for example x."),
        ("--bg print", "print is one of Python's own names; write for example --bg my_print."),
        ("--bg _x", "_x is a hidden name; write for example --bg my_x."),
        ("--bg a --bg b", "--bg is given twice; keep one."),
        ("--bg a --dry-run", "--dry-run shows the cell and runs nothing, so --bg has no meaning; keep one."),
        ("--bg a --service embed", "A service has no --bg; keep one of --service and --bg."),
    ],
)
def test_misuse_of_a_background_cell(line: str, words: str) -> None:
    with pytest.raises(LineError) as refused:
        parse(f"T4 {line}")
    assert refused.value.message == words
