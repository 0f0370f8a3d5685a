"""Directories of servers and links of containers: made, recorded, shared, and removed by whoever comes after a death."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import resource
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from modal_gpu_magic.control_plane.containers import server_dirs
from modal_gpu_magic.control_plane.containers.links import Links
from modal_gpu_magic.control_plane.refusals import Conflict
from tests.control_plane.plane import eventually


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A server's directory."""
    path = tmp_path / "run" / f"{server_dirs.PREFIX}1"
    path.mkdir(parents=True)
    return path


def test_all_directories_are_the_users_alone() -> None:
    home = server_dirs.create()
    try:
        modes = [stat.S_IMODE(each.stat().st_mode) for each in (home.root, home.shared, home.store)]
        assert modes == [0o700, 0o700, 0o700]
        assert len(str(home.root)) <= 50, "a socket's path must fit"
    finally:
        home.remove()
    assert not home.root.exists()
    assert not home.shared.exists()


def test_what_a_dead_server_left_is_removed_and_a_living_ones_stays() -> None:
    source = (
        "from modal_gpu_magic.control_plane.containers import server_dirs as p; h = p.create(); print(h.root, h.store)"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, cwd=Path(__file__).parents[3])
    dead = [Path(path) for path in done.stdout.split()]
    living = server_dirs.create()
    try:
        server_dirs.clear_dead()
        assert not any(path.exists() for path in dead)
        assert living.root.is_dir()
        assert living.store.is_dir()
    finally:
        living.remove()
    assert done.returncode == 0


def test_a_process_that_still_writes_keeps_no_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a dead server has started may live a moment longer."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(server_dirs, "_MAX_BASE_LENGTH", 1000)
    for _ in range(10):
        home = server_dirs.create()
        (home.root / "owner.json").write_text(json.dumps({"pid": os.getpid(), "started": "1"}))
        for number in range(50):
            (home.root / str(number)).touch()
        begun = threading.Event()
        writer = threading.Thread(target=write_until_gone, args=(home.root, begun))
        writer.start()
        begun.wait()
        server_dirs.clear_dead()
        assert not home.root.exists()
        writer.join()
        home.remove()


def write_until_gone(directory: Path, begun: threading.Event) -> None:
    with contextlib.suppress(FileNotFoundError):
        for number in itertools.count():
            (directory / f"late-{number}").touch()
            begun.set()


def test_a_reused_pid_is_not_the_owner() -> None:
    home = server_dirs.create()
    for directory in (home.root, home.shared):
        (directory / "owner.json").write_text(json.dumps({"pid": os.getpid(), "started": "1"}))
    server_dirs.clear_dead()
    assert not home.root.exists()
    assert not home.shared.exists()


@pytest.mark.parametrize("marker", [None, "", "{", "[]", '{"pid": 1}', '{"pid": "x", "started": []}'])
def test_what_nobody_has_marked_is_given_a_minute(marker: str | None) -> None:
    home = server_dirs.create()
    try:
        (home.root / "owner.json").unlink()
        if marker is not None:
            (home.root / "owner.json").write_text(marker)
        server_dirs.clear_dead()
        assert home.root.is_dir()
        long_ago = time.time() - server_dirs.UNMARKED_SECONDS - 1
        os.utime(home.root, (long_ago, long_ago))
        server_dirs.clear_dead()
        assert not home.root.exists()
    finally:
        home.remove()


def test_a_process_is_told_by_its_start() -> None:
    assert server_dirs.started(os.getpid()) == server_dirs.started(os.getpid()) is not None
    assert server_dirs.started(999999999) is None
    with subprocess.Popen(["true"]) as ended:
        eventually(lambda: server_dirs.started(ended.pid) is None)
        assert Path(f"/proc/{ended.pid}").exists(), "a zombie until it is waited for"


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
    other_root = root.with_name(f"{server_dirs.PREFIX}2")
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
    with pytest.raises(Conflict, match=r"real exists on this machine.*Choose a mount path"):
        Links(root).take(tmp_path / "real", tmp_path)
    links = Links(root)
    links.take(tmp_path / "d", tmp_path / "one")
    with pytest.raises(Conflict, match="one in another running container"):
        links.take(tmp_path / "d", tmp_path / "two")
    (tmp_path / "foreign").symlink_to("/nowhere")
    with pytest.raises(Conflict, match="foreign points to /nowhere"):
        links.take(tmp_path / "foreign", tmp_path)


def test_a_path_that_nobody_can_make_is_no_error(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert not Links(root).take(tmp_path / "file" / "d", tmp_path)
    assert not Links(root).take(Path("/proc/d"), tmp_path)


def test_links_of_a_dead_server_go_with_it(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "volume"
    target.mkdir()
    Links(root).take(tmp_path / "d", target)
    server_dirs.ServerDirs(root, root / "shared", root / "disk").remove()
    assert not (tmp_path / "d").is_symlink()
    assert target.is_dir()


def test_large_files_lie_in_the_cache_directory_and_end_with_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runtime directory is in memory on most machines: a saved state of gigabytes would fill it."""
    for name in ("RUNTIME_DIR", "CACHE_HOME"):
        monkeypatch.setenv(f"XDG_{name}", str(tmp_path / name[:3]))
        (tmp_path / name[:3]).mkdir()
    dirs = server_dirs.create()
    try:
        assert dirs.disk.is_relative_to(tmp_path / "CAC")
        assert stat.S_IMODE(dirs.disk.stat().st_mode) == 0o700
        dead = dirs.disk.with_name("mgm-dead")
        dead.mkdir()
        server_dirs.write_private(dead / "owner.json", '{"pid": 1, "started": "another process"}')
        server_dirs.clear_dead()
        assert not dead.exists()
        assert dirs.disk.is_dir()
    finally:
        dirs.remove()
    assert not any(each.exists() for each in (dirs.root, dirs.shared, dirs.disk))


def test_a_full_shared_memory_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full file system takes directories and no content, as this one with a limit of the size of files."""
    shared = tmp_path / "shm"
    shared.mkdir()
    monkeypatch.setattr(server_dirs, "_SHARED_MEMORY", shared)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (server_dirs.LEAST_ROOM_BYTES // 2, limits[1]))
    try:
        dirs = server_dirs.create()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    try:
        assert not list(shared.iterdir())
        assert dirs.store.is_dir()
        assert dirs.store.is_relative_to(dirs.root)
    finally:
        dirs.remove()
