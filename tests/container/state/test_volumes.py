"""Volumes around a cell: what goes wrong is said in one line and never fails the cell."""

from __future__ import annotations

from functools import partial

from modal_gpu_magic.container.state.volumes import NO_VOLUMES, Volumes


def test_each_is_reloaded_and_committed() -> None:
    done: list[str] = []
    said: list[str] = []
    volumes = Volumes(
        {name: partial(done.append, f"reload {name}") for name in "ab"},
        {name: partial(done.append, f"commit {name}") for name in "ab"},
    )
    volumes.reload(said.append)
    volumes.commit(said.append)
    assert (done, said) == (["reload a", "reload b", "commit a", "commit b"], [])


def test_a_refusal_is_said_in_one_line_and_the_others_go_on() -> None:
    done: list[str] = []
    said: list[str] = []

    def refuse() -> None:
        raise RuntimeError("there are open files\npreventing the operation")

    volumes = Volumes({"a": refuse, "b": lambda: done.append("b")}, {"a": refuse})
    volumes.reload(said.append)
    volumes.commit(said.append)
    assert done == ["b"]
    assert said == [
        "Volume a was not reloaded, so the cell sees it as it was: there are open files preventing the operation",
        "Volume a could not be committed; Modal does it when the container ends: "
        "there are open files preventing the operation",
    ]


def test_without_volumes_nothing_is_said() -> None:
    said: list[str] = []
    NO_VOLUMES.reload(said.append)
    NO_VOLUMES.commit(said.append)
    assert said == []
