"""What the directories and patterns of a cell have in them."""

from __future__ import annotations

import glob
import os
from pathlib import Path

import pytest

from modal_gpu_magic.plan.cell.path_text import HOLE
from modal_gpu_magic.session.project.listing import below, matching
from modal_gpu_magic.session.project.root import Project

FILES = (
    "data/a.csv",
    "data/b.csv",
    "data/c d.txt",
    "data/é中.csv",
    "data/[1].csv",
    "data/x-1.csv",
    "data/train/cat/1.png",
    "data/train/dog/1.png",
    "data/.hidden",
    "data/.env",
    "data/__pycache__/m.pyc",
    "data/.git/config",
    "data/env/pyvenv.cfg",
    "top.csv",
)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with a notebook's folder, which is the working directory."""
    folder = tmp_path / "project/work"
    for path in FILES:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)
    (folder / "empty").mkdir()
    (folder.parent / "beside").mkdir()
    (folder.parent / "beside/y.csv").write_text("y")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/z.csv").write_text("z")
    (folder / "data/out").symlink_to(tmp_path / "outside")
    (folder / "data/out.csv").symlink_to(tmp_path / "outside/z.csv")
    (folder / "data/in.csv").symlink_to("../../beside/y.csv")
    (folder / "data/loop").symlink_to("..")
    monkeypatch.chdir(folder)
    return Project.around(str(folder))


def test_all_below_a_directory_but_what_no_cell_means_and_links_out(project: Project) -> None:
    found = below("data", project)
    assert {path for path in found.files if "loop" not in path} == {
        "data/.hidden", "data/[1].csv", "data/a.csv", "data/b.csv", "data/c d.txt", "data/in.csv", "data/x-1.csv",
        "data/é中.csv", "data/train/cat/1.png", "data/train/dog/1.png",
    }  # fmt: skip
    assert found.secrets[0] == "data/.env"
    assert {"data", "data/train", "data/train/cat"} <= set(found.folders)
    assert found.whole
    assert below("empty", project).folders == ["empty"]


def test_some_levels_and_some_entries(project: Project) -> None:
    flat = below("data", project, depth=1)
    assert "data/train" in flat.folders
    assert "data/train/cat/1.png" not in flat.files
    assert not below("data", project, most=3).whole


@pytest.mark.parametrize(
    "pattern",
    [
        "data/*.csv",
        "data/?.csv",
        "data/[ab].csv",
        "data/[!a].csv",
        "data/[[]1].csv",
        "data/*/*/*.png",
        "data/**/*.png",
        "data/train/**",
        "data/c d.*",
        "data/x-*.csv",
        "*.csv",
        "./*.csv",
        "../beside/*",
        "*",
        "nowhere/*",
        "data/a.csv",
    ],
)
def test_a_pattern_matches_what_glob_does(pattern: str, project: Project) -> None:
    found = matching(pattern, project)
    ours = {os.path.normpath(path) for path in (*found.files, *found.folders) if "loop" not in path}
    theirs = {
        os.path.normpath(path)
        for path in glob.glob(pattern, recursive=True)  # noqa: PTH207 - what cells call
        if not {"loop", "out", "out.csv", "env", "__pycache__"} & set(Path(path).parts)
    }
    assert theirs <= ours
    assert all("/." in f"/{path}" for path in ours - theirs), "only hidden ones more"


def test_a_name_that_is_made(project: Project) -> None:
    assert set(matching(f"data/{HOLE}-{HOLE}.csv", project).files) == {"data/x-1.csv"}
    assert set(matching(f"data/train/{HOLE}/1.png", project).files) == {"data/train/cat/1.png", "data/train/dog/1.png"}


def test_nothing_outside_the_project(project: Project) -> None:
    assert matching("../../outside/*.csv", project).files == {}
    assert matching("../../*", project).files == {}


def test_the_project_is_the_nearest_directory_with_a_mark_else_the_parent(tmp_path: Path) -> None:
    (tmp_path / "p/sub/nb").mkdir(parents=True)
    assert Project.around(str(tmp_path / "p/sub/nb")).root == str(tmp_path / "p/sub")
    (tmp_path / "p/pyproject.toml").touch()
    assert Project.around(str(tmp_path / "p/sub/nb")).root == str(tmp_path / "p")
    (tmp_path / "p/sub/nb/.git").mkdir()
    assert Project.around(str(tmp_path / "p/sub/nb")).root == str(tmp_path / "p/sub/nb")


def test_places_in_the_copy(project: Project, tmp_path: Path) -> None:
    places = {
        "data/a.csv": "project/work/data/a.csv",
        ".": "project/work",
        "..": "project",
        "../beside/y.csv": "project/beside/y.csv",
        "data/../data/a.csv": "project/work/data/a.csv",
        str(tmp_path / "project/beside"): "project/beside",
        "../..": None,
        "../../outside/z.csv": None,
        "data/out.csv": None,
        "data/in.csv": "project/work/data/in.csv",
        "data/out/z.csv": None,
        "/etc/hostname": None,
        "a\0b": None,
    }
    assert {path: project.place(path) for path in places} == places
    assert project.path("project/beside/y.csv") == str(tmp_path / "project/beside/y.csv")
