"""Files of the control plane that are nobody else's business: modes of what it writes, and of the user's secrets."""

from __future__ import annotations

import io
import stat
from pathlib import Path
from typing import Any

import modal
import pytest

from modal_gpu_magic.control_plane.containers.server_dirs import make_private, write_private
from tests.control_plane.plane import Plane


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_marks_and_records_is_the_users_alone(plane: Plane) -> None:
    files = [path for place in (plane.root, plane.store.parent) for path in place.glob("*.json")]
    assert {path.name for path in files} >= {"owner.json"}
    assert {mode(path) for path in files} == {0o600}
    assert {mode(plane.root), mode(plane.store), mode(plane.store.parent)} == {0o700}


def test_volumes_and_what_is_sent_are_the_users_alone(plane: Plane, places: dict[str, str], client: Any) -> None:
    modal.Volume.from_name("private", create_if_missing=True).hydrate(client)
    with modal.Volume.ephemeral(client=client) as volume, volume.batch_upload() as batch:
        batch.put_file(io.BytesIO(b"x" * (5 << 20)), "f")
    volumes = Path(places["XDG_DATA_HOME"], "modal_gpu_magic", "volumes")
    disk = Path(places["XDG_CACHE_HOME"], "modal-gpu-magic", plane.root.name, "volumes")
    places_of_data = [volumes, volumes / "private", disk, *disk.iterdir()]
    assert len(places_of_data) > 3
    assert {path.name: mode(path) for path in places_of_data} == {path.name: 0o700 for path in places_of_data}


def test_named_secrets_become_private_when_they_are_read(plane: Plane, places: dict[str, str], client: Any) -> None:
    path = Path(places["XDG_CONFIG_HOME"], "modal_gpu_magic", "secrets.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(0o755)
    path.write_text('{"mine": {"KEY": "value"}}')
    path.chmod(0o644)
    modal.Secret.from_name("mine").hydrate(client)
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)


def test_a_private_file_is_private_whatever_was_there(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    path.chmod(0o666)
    write_private(path, "new")
    assert (path.read_text(), mode(path)) == ("new", 0o600)


@pytest.mark.parametrize("before, after", [(0o644, 0o600), (0o600, 0o600), (0o400, 0o400), (0o700, 0o600)])
def test_rights_are_only_taken(tmp_path: Path, before: int, after: int) -> None:
    path = tmp_path / "x"
    path.touch()
    path.chmod(before)
    make_private(path)
    assert mode(path) == after


def test_nothing_is_done_through_a_link(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.touch()
    target.chmod(0o644)
    (tmp_path / "link").symlink_to(target)
    make_private(tmp_path / "link")
    make_private(tmp_path / "nothing")
    assert mode(target) == 0o644
