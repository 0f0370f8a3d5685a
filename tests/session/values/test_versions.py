"""Packages that differ here and there: named once, before user code where values go, after it where results come."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from modal_gpu_magic import Machine, Session
from modal_gpu_magic.errors import MachineError, TransferError
from modal_gpu_magic.session.run.conclude import never_ran
from modal_gpu_magic.session.run.front import SilentFront
from modal_gpu_magic.session.run.run_end import Ended
from modal_gpu_magic.session.values.versions import Versions
from modal_gpu_magic.wire.messages.events import Answer, Event, Need

HERE = version("numpy")
PLAIN = Machine.of("H100")


class Ordered(SilentFront):
    """Keeps notes and the cell's output in the order they were shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[str] = []

    def event(self, event: Event) -> None:
        """Keep it."""
        super().event(event)
        self.shown.append(str(event.content.get("text", "")))

    def say(self, text: str) -> None:
        """Keep it."""
        super().say(text)
        self.shown.append(text)


OLDER = """
import pathlib, sys
for name, number in (("numpy", "1.26.4"), ("pandas", "2.0.0")):
    place = pathlib.Path("older", f"{name}-{number}.dist-info")
    place.mkdir(parents=True)
    _ = (place / "METADATA").write_text(f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {number}\\n")
sys.path.insert(0, str(pathlib.Path("older").resolve()))
"""
"""Makes the container say of itself that it has older packages."""

NUMPY = (
    f"numpy is {HERE} in the notebook and 1.26.4 in the container: "
    f'to match the versions, run %modal_gpu stop, then use --pip "numpy=={HERE}"'
)


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    """A session whose container has older packages."""
    started = Session("H100", name="older", backend="local")
    started.run(OLDER)
    yield started
    started.stop()


def test_a_package_that_differs_is_named_once_before_user_code(session: Session) -> None:
    session.namespace["x"] = [np.arange(3)]
    first, second = Ordered(), Ordered()
    session.run("print(x[0].sum())", first)
    session.namespace["y"] = np.ones(2)
    session.run("print(y)", second)
    said, *printed = first.shown
    assert said == f"{NUMPY}."
    assert "".join(printed) == "3\n"
    assert second.notes == []


def test_a_value_that_cannot_be_made_there_gets_the_same_words(session: Session) -> None:
    session.run("import numpy\nvars(numpy).pop('poly1d')")
    session.namespace["p"] = np.poly1d([1, 2])
    front = SilentFront()
    with pytest.raises(TransferError) as refused:
        session.run("print('begun'); p", front)
    first, last = str(refused.value).splitlines()
    assert first.startswith("Cannot make `p` in the container: needs numpy")
    assert first.endswith(f"; {NUMPY}.")
    assert last == "The cell did not run."
    assert not front.events


def test_of_results_it_is_said_when_they_come(session: Session) -> None:
    front, again = SilentFront(), SilentFront()
    session.run("import pandas\nframe = pandas.DataFrame({'a': [1]})", front)
    session.run("frame = pandas.DataFrame({'a': [2]})", again)
    assert [note.partition(":")[0] for note in front.notes] == [
        f"pandas is {version('pandas')} in the notebook and 2.0.0 in the container"
    ]
    assert again.notes == []
    assert session.namespace["frame"]["a"][0] == 2


def test_what_is_the_same_is_not_said() -> None:
    session, front = Session("H100", name="same", backend="local"), SilentFront()
    session.namespace["x"] = np.arange(3)
    try:
        session.run("y = x + 1", front)
    finally:
        session.stop()
    assert front.notes == []


def test_a_package_is_told_once_a_container() -> None:
    versions = Versions()
    assert set(versions.outgoing(["numpy.random", "collections", "modal_no_such"], PLAIN)) == {"numpy"}
    assert set(versions.outgoing(["numpy"], PLAIN)) == {"numpy"}, "it has not arrived yet"
    versions.arrived()
    assert versions.outgoing(["numpy"], PLAIN) == {}
    versions.forget()
    assert set(versions.outgoing(["numpy"], PLAIN)) == {"numpy"}


def test_where_the_image_decides_the_version_the_notebook_has_to_follow() -> None:
    clause = Versions().unlike({"numpy": "1.26.4"}, Machine.of("H100", image="vllm"))["numpy"]
    assert clause.endswith('run pip install "numpy==1.26.4" in the notebook, then restart the kernel')


ANOTHER_PYTHON = """
from modal_gpu_magic import __version__
from modal_gpu_magic.container.worker import Worker
from modal_gpu_magic.wire.messages.events import Request
answer = Worker("x").run(Request("1", __version__, "raise SystemExit", 1, python="3.9"), print, input)
import pathlib, sys
pathlib.Path(sys.argv[1]).write_text(f"{answer.need.reason} {answer.need.version}")
"""


def test_a_container_of_another_python_runs_nothing(tmp_path: Path) -> None:
    told = tmp_path / "told"
    done = subprocess.run([sys.executable, "-c", ANOTHER_PYTHON, str(told)], capture_output=True, text=True)
    assert told.read_text() == f"python 3.{sys.version_info.minor}", done.stderr


def test_another_python_is_refused_with_the_way_out() -> None:
    need = Need("g", "python", version="3.9")
    ended = Ended(Answer("g", "0", need=need), None, False, False, False, time.time(), False, "")
    with pytest.raises(
        MachineError, match=rf"has Python 3.9, and this notebook 3\.{sys.version_info.minor}.*debian_slim"
    ):
        never_ran(ended)
