"""Tab on the magic's line, asked of IPython's own completer."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.e2e.kernel import Kernel
from tests.ui.shell import in_shell

TEXTS = [
    "%%modal_gpu H",
    "%%modal_gpu H100:",
    "%%modal_gpu H100 --ke",
    "%%modal_gpu H100 --in ",
    "%%modal_gpu H100 --in=my_d",
    "%%modal_gpu --image s",
    "%%modal_gpu my_m",
    "%modal_gpu use A100-4",
    "# about\n%%modal_gpu T",
    "%modal_gpu recommend 13B lo",
    "my_d",
    "%%modal_gpu H100\nmy_d",
    "%modal_gpu pu",
    "%modal_gpu H10",
    "%modal_gpu put no",
    "%modal_gpu put notes/",
    "%modal_gpu put notes da",
    "%modal_gpu get se",
    "%modal_gpu get data:/x --f",
    "%modal_gpu put x --f",
    "%modal_gpu ls --backend l",
    "%modal_gpu status x",
]

SCRIPT = f"""
run("%load_ext modal_gpu_magic")
import os
os.makedirs("notes")
open("notes/a b.txt", "w").close()
run("%modal_gpu use L4 --volume data:/data")
run("import modal_gpu_magic as mg\\nmy_data = [1]\\nmy_machine = mg.Machine.of('L4')\\n_hidden = 1")
out.update({{text: tab(text) for text in {TEXTS!r}}})
run("%unload_ext modal_gpu_magic")
out["unloaded"] = tab("%%modal_gpu H")
"""


@pytest.fixture(scope="module")
def offered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What each text may become."""
    return in_shell(tmp_path_factory.mktemp("home"), SCRIPT)


@pytest.mark.parametrize(
    "text, first",
    [
        ("%%modal_gpu H", "%%modal_gpu H100"),
        ("%%modal_gpu H100:", "%%modal_gpu H100:2"),
        ("%%modal_gpu H100 --ke", "%%modal_gpu H100 --keep-warm"),
        ("%%modal_gpu H100 --in=my_d", "%%modal_gpu H100 --in=my_data"),
        ("%%modal_gpu --image s", "%%modal_gpu --image slim"),
        ("%%modal_gpu my_m", "%%modal_gpu my_machine"),
        ("%modal_gpu use A100-4", "%modal_gpu use A100-40GB"),
        ("%modal_gpu recommend 13B lo", "%modal_gpu recommend 13B lora"),
        ("# about\n%%modal_gpu T", "# about\n%%modal_gpu T4"),
        ("my_d", "my_data"),
        ("%%modal_gpu H100\nmy_d", "%%modal_gpu H100\nmy_data"),
        ("%modal_gpu pu", "%modal_gpu put"),
        ("%modal_gpu H10", "%modal_gpu H100"),
        ("%modal_gpu put no", "%modal_gpu put notes/"),
        ("%modal_gpu put notes/", "%modal_gpu put 'notes/a b.txt'"),
        ("%modal_gpu put notes da", "%modal_gpu put notes data:/"),
        ("%modal_gpu get se", "%modal_gpu get session:"),
        ("%modal_gpu get data:/x --f", "%modal_gpu get data:/x --force"),
        ("%modal_gpu ls --backend l", "%modal_gpu ls --backend local"),
    ],
)
def test_what_is_offered(offered: dict[str, list[str]], text: str, first: str) -> None:
    assert first in offered[text]


def test_variables_of_the_user_are_offered_and_no_others(offered: dict[str, list[str]]) -> None:
    names = {text.rpartition(" ")[2] for text in offered["%%modal_gpu H100 --in "]}
    assert {"my_data", "my_machine"} <= names
    assert not names & {"_hidden", "In", "Out", "get_ipython", "exit"}


def test_only_gpus_stand_where_gpus_stand(offered: dict[str, list[str]]) -> None:
    assert {text.rpartition(" ")[2] for text in offered["%%modal_gpu H"]} == {"H100", "H200"}


@pytest.mark.parametrize("text", ["%modal_gpu put x --f", "%modal_gpu status x"])
def test_a_word_s_own_options_only(offered: dict[str, list[str]], text: str) -> None:
    assert not [each for each in offered[text] if each.startswith(("%modal_gpu put x --force", "%modal_gpu status x/"))]


BESIDE = [
    ("%%modal_gpu ", "H100", "80 GB · $3.95/h"),
    ("%%modal_gpu ", "A100-80GB", "80 GB · $2.50/h"),
    ("%%modal_gpu H100:", "H100:8", "640 GB · $31.59/h"),
    ("%%modal_gpu H100", "H100!", "80 GB · $3.95/h · no upgrade"),
    ("%%modal_gpu 2", "24GB", "any GPU with this memory"),
    ("%%modal_gpu H100 --", "--pip", "Python packages to add"),
    ("%%modal_gpu H100 --py", "--python", "the image's Python"),
    ("%%modal_gpu --image ", "slim", "a slim Debian with Python and nothing else"),
    ("%%modal_gpu --in my", "my_list", "list"),
    ("%modal_gpu H", "H100", "80 GB · $3.95/h"),
    ("%modal_gpu sto", "stop", "stop the containers, or one session or service"),
]


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with Kernel() as kernel:
        kernel.load()
        kernel.run("my_list = []")
        yield kernel


@pytest.mark.parametrize("text, offered, beside", BESIDE)
def test_a_page_shows_price_or_sentence_on_the_right(kernel: Kernel, text: str, offered: str, beside: str) -> None:
    """What a front end shows beside a text is the type in the reply's experimental metadata."""
    shown = {each["text"]: each["type"] for each in kernel.complete(text)["metadata"]["_jupyter_types_experimental"]}
    assert re.sub(r"\s", " ", shown[offered]) == beside
    assert " " not in shown[offered], "JupyterLab would break the text, over the row below"


@pytest.mark.parametrize(
    "text, first",
    [
        ("%%modal_gpu ", ["H100", "A100-80GB", "L40S"]),
        ("%%modal_gpu --", ["--pip", "--timeout", "--keep-warm"]),
        ("%modal_gpu ", ["status", "gpus", "stop"]),
    ],
)
def test_the_usual_is_first(kernel: Kernel, text: str, first: list[str]) -> None:
    assert kernel.complete(text)["matches"][:3] == first


def test_nothing_is_offered_when_the_extension_is_gone(offered: dict[str, list[str]]) -> None:
    assert "%%modal_gpu H100" not in offered["unloaded"]
