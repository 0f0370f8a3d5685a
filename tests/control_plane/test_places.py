"""Directories of servers and links of containers: made, recorded, shared, and removed by whoever comes after a death."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from modal_gpu_magic.control_plane import premises
from modal_gpu_magic.control_plane.links import Links
from modal_gpu_magic.control_plane.refusals import Conflict


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A server's directory."""
    path = tmp_path / "run" / f"{premises.PREFIX}1"
    path.mkdir(parents=True)
    return path


def test_both_directories_are_the_users_alone() -> None:
    home = premises.move_in()
    try:
        assert [stat.S_IMODE(each.stat().st_mode) for each in (home.root, home.store)] == [0o700, 0o700]
        assert len(str(home.root)) <= 50, "a socket's path must fit"
    finally:
        home.remove()
    assert not home.root.exists()
    assert not home.store.exists()


def test_what_a_dead_server_left_is_removed_and_a_living_ones_stays() -> None:
    source = "from modal_gpu_magic.control_plane import premises as p; h = p.move_in(); print(h.root, h.store)"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    dead = [Path(path) for path in done.stdout.split()]
    living = premises.move_in()
    try:
        assert all(path.is_dir() for path in dead)
        premises.clear_dead()
        assert not any(path.exists() for path in dead)
        assert living.root.is_dir()
    finally:
        living.remove()


def test_a_reused_pid_is_not_the_owner() -> None:
    home = premises.move_in()
    marker = home.root / "owner.json"
    owner = json.loads(marker.read_text())
    marker.write_text(json.dumps({**owner, "started": "1"}))
    premises.clear_dead()
    assert not home.root.exists()


@pytest.mark.parametrize("marker", ["", "{", "[]", '{"pid": 1}', '{"pid": 999999999, "started": "1", "store": 5}'])
def test_a_half_made_directory_is_left_alone(marker: str) -> None:
    home = premises.move_in()
    try:
        (home.root / "owner.json").write_text(marker)
        premises.clear_dead()
        assert home.root.is_dir()
    finally:
        home.remove()


def test_a_marker_cannot_point_the_broom_elsewhere(tmp_path: Path) -> None:
    home = premises.move_in()
    (tmp_path / "precious").mkdir()
    (home.root / "owner.json").write_text(
        json.dumps({"pid": 999999999, "started": "1", "store": str(tmp_path / "precious")})
    )
    premises.clear_dead()
    home.remove()
    assert (tmp_path / "precious").is_dir()


def test_a_process_is_told_by_its_start() -> None:
    assert premises.started(os.getpid()) == premises.started(os.getpid()) is not None
    assert premises.started(999999999) is None


def test_a_link_lives_as_long_as_its_last_user(root: Path, tmp_path: Path) -> None:
    links, path, target = Links(root), tmp_path / "a" / "b" / "d", tmp_path / "volume"
    target.mkdir()
    assert links.take(path, target)
    assert links.take(path, target)
    (path / "file").write_text("x")
    assert (target / "file").read_text() == "x"
    links.give_back(path)
    assert path.is_symlink()
    links.give_back(path)
    assert not path.is_symlink()
    assert not (tmp_path / "a").exists(), "directories made for it go, too"
    assert (target / "file").exists()


def test_a_link_that_another_server_uses_stays(root: Path, tmp_path: Path) -> None:
    other_root = root.with_name(f"{premises.PREFIX}2")
    other_root.mkdir()
    path, target = tmp_path / "d", tmp_path / "volume"
    target.mkdir()
    ours, others = Links(root), Links(other_root)
    assert ours.take(path, target)
    assert others.take(path, target)
    ours.give_back(path)
    assert path.is_symlink()
    others.give_back(path)
    assert not path.is_symlink()


def test_what_is_in_the_way_is_named(root: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    with pytest.raises(Conflict, match=r"real exists on this machine.*Mount at a path that is free"):
        Links(root).take(tmp_path / "real", tmp_path)
    links = Links(root)
    links.take(tmp_path / "d", tmp_path / "one")
    with pytest.raises(Conflict, match="one in another container"):
        links.take(tmp_path / "d", tmp_path / "two")
    (tmp_path / "foreign").symlink_to("/nowhere")
    with pytest.raises(Conflict, match="foreign leads to /nowhere"):
        links.take(tmp_path / "foreign", tmp_path)


def test_a_path_that_nobody_can_make_is_no_error(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert not Links(root).take(tmp_path / "file" / "d", tmp_path)
    assert not Links(root).take(Path("/proc/d"), tmp_path)


def test_links_of_a_dead_server_go_with_it(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "volume"
    target.mkdir()
    Links(root).take(tmp_path / "d", target)
    premises.Premises(root, root / "store").remove()
    assert not (tmp_path / "d").is_symlink()
    assert target.is_dir()
