"""Tab on the magic's line, asked of IPython's own completer."""

from __future__ import annotations

import pytest

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
]

SCRIPT = f"""
run("%load_ext modal_gpu_magic")
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


def test_nothing_is_offered_when_the_extension_is_gone(offered: dict[str, list[str]]) -> None:
    assert "%%modal_gpu H100" not in offered["unloaded"]
