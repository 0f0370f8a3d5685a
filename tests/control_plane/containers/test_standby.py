"""The standby process: the first container takes the one that exists, and another follows unless none is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modal_gpu_magic.control_plane.containers import standby
from modal_gpu_magic.control_plane.containers.standby import REFILL, WarmProcess, WarmProcesses
from tests.control_plane.plane import Plane, eventually
from tests.control_plane.subjects import make_subjects


@pytest.fixture
def first(tmp_path: Path) -> WarmProcess:
    """The one that the server starts before its own imports."""
    return standby.start(tmp_path / "c0")


@pytest.fixture
def taken(tmp_path: Path, first: WarmProcess, request: pytest.FixtureRequest) -> Iterator[WarmProcesses]:
    """A server's standby processes after a container took the first, `refilled` as the test says."""
    processes = WarmProcesses(tmp_path, first, refilled=request.param)
    assert processes.take({}) is first
    yield processes
    processes.close()
    first.discard()


@pytest.mark.parametrize("taken, following", [(True, ["c0", "c1"]), (False, ["c0"])], indirect=["taken"])
def test_another_follows_unless_none_is_wanted(taken: WarmProcesses, tmp_path: Path, following: list[str]) -> None:
    taken.refill()
    assert sorted(path.name for path in tmp_path.iterdir()) == following


@pytest.mark.parametrize("taken", [True], indirect=True)
def test_there_is_one_at_a_time_and_none_after_the_end(taken: WarmProcesses, tmp_path: Path) -> None:
    taken.refill()
    taken.refill()
    taken.close()
    taken.refill()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c0", "c1"]


@pytest.mark.parametrize("wanted", [{}, {"PYTHONHASHSEED": "8"}, {"PYTHONHASHSEED": "7", "LD_BIND_NOW": "1"}], ids=str)
def test_one_that_python_began_with_other_variables_is_not_given_out(tmp_path: Path, wanted: dict[str, str]) -> None:
    first = standby.start(tmp_path / "c0", standby.hash_seed({"PYTHONHASHSEED": "7", "WORD": "x"}))
    processes = WarmProcesses(tmp_path, first)
    other = processes.take(wanted)
    assert (other is first, other.extra) == (False, wanted)
    assert processes.take({"PYTHONHASHSEED": "7"}) is first
    processes.refill()
    following = processes.take({"PYTHONHASHSEED": "7"})
    assert following.container_root.path.name == "c2", "the next one was prepared with the seed as well"
    processes.close()
    for each in (first, other, following):
        each.discard()


@pytest.fixture
def server(places: dict[str, str]) -> Iterator[Plane]:
    """A server with a standby process always ready, as it is unless the environment says otherwise."""
    plane = Plane({**places, REFILL: "1"})
    yield plane
    plane.leave()


def test_a_server_starts_the_next_one(server: Plane) -> None:
    made = make_subjects()
    with made.app.run(client=server.client()):
        assert made.Box().run.remote("result = 1") == 1
        eventually((server.root / "c1").exists)
