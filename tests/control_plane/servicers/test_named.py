"""Named queues, dicts and volumes of the real SDK: create, find, list, delete, by any client."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import modal
import pytest

from tests.control_plane.plane import Plane, eventually, stop_app

KINDS = pytest.mark.parametrize("kind", [modal.Queue, modal.Dict, modal.Volume])


@pytest.fixture
def name() -> str:
    """A name that nobody has."""
    return f"named-{uuid.uuid4().hex[:8]}"


def names(kind: Any, client: Any, **options: Any) -> list[str]:
    return [each.name for each in kind.objects.list(client=client, **options)]


@KINDS
def test_a_name_is_created_once_and_found_by_all(kind: Any, client: Any, plane: Plane, name: str) -> None:
    made = kind.from_name(name, create_if_missing=True, client=client).hydrate()
    assert kind.from_name(name, client=plane.client()).hydrate().object_id == made.object_id
    kind.objects.create(name, allow_existing=True, client=client)
    with pytest.raises(modal.exception.AlreadyExistsError):
        kind.objects.create(name, client=client)
    assert kind.from_name(name, client=client).hydrate().object_id == made.object_id


@KINDS
def test_an_unknown_name_is_not_found(kind: Any, client: Any, name: str) -> None:
    with pytest.raises(modal.exception.NotFoundError):
        kind.from_name(name, client=client).hydrate()
    with pytest.raises(modal.exception.NotFoundError):
        kind.objects.delete(name, client=client)
    kind.objects.delete(name, allow_missing=True, client=client)


@KINDS
def test_a_deleted_name_is_free(kind: Any, client: Any, name: str) -> None:
    kind.objects.create(name, client=client)
    first = kind.from_name(name, client=client).hydrate().object_id
    kind.objects.delete(name, client=client)
    assert name not in names(kind, client)
    with pytest.raises(modal.exception.NotFoundError):
        kind.from_name(name, client=client).hydrate()
    assert kind.from_name(name, create_if_missing=True, client=client).hydrate().object_id != first


@KINDS
def test_the_list_has_the_newest_first_and_no_ephemeral_ones(kind: Any, client: Any, name: str) -> None:
    created = [f"{name}-{number}" for number in range(3)]
    for each in created:
        kind.objects.create(each, client=client)
    with kind.ephemeral(client=client):
        found = [each for each in names(kind, client) if each in created or not each]
    assert found == created[::-1]
    assert len(names(kind, client, max_objects=2)) == 2
    assert not [each for each in names(kind, client, created_before="2020-01-01") if each in created]


@pytest.mark.parametrize("kind", [modal.Queue, modal.Dict])
def test_a_list_longer_than_a_page(kind: Any, client: Any, name: str) -> None:
    created = {f"{name}-{number}" for number in range(110)}
    for each in created:
        kind.objects.create(each, client=client)
    assert created <= set(names(kind, client))


def test_the_items_of_a_queue_are_counted(client: Any, plane: Plane, name: str) -> None:
    line = modal.Queue.from_name(name, create_if_missing=True, client=client)
    line.put_many([1, 2, 3])
    line.put(4, partition="p")
    other = modal.Queue.from_name(name, client=plane.client())
    assert (other.len(), other.len(total=True), other.get_many(2)) == (3, 4, [1, 2])


def test_a_volume_gets_another_name(client: Any, name: str) -> None:
    volume = modal.Volume.from_name(name, create_if_missing=True, client=client)
    with volume.batch_upload() as batch:
        batch.put_file(__file__, "file")
    modal.Volume.objects.create(f"{name}-taken", client=client)
    with pytest.raises(modal.exception.AlreadyExistsError):
        modal.Volume.rename(name, f"{name}-taken", client=client)
    with pytest.raises(modal.exception.InvalidError):
        modal.Volume.rename(name, "../elsewhere", client=client)
    modal.Volume.rename(name, f"{name}-new", client=client)
    renamed = modal.Volume.from_name(f"{name}-new", client=client)
    assert [each.path for each in renamed.listdir("/")] == ["file"]
    with pytest.raises(modal.exception.NotFoundError):
        modal.Volume.from_name(name, client=client).hydrate()


def test_a_volume_is_deleted_after_the_exit_hooks_of_its_stopped_app(
    client: Any, places: dict[str, str], tmp_path: Path, name: str
) -> None:
    app = modal.App(name)
    source = """
class Writer:
    @modal.method()
    def begin(self):
        return True

    @modal.exit()
    def end(self):
        import json, os, time
        from pathlib import Path
        time.sleep(0.5)
        directory = Path(next(iter(json.loads(os.environ["MODAL_GPU_VOLUMES"]).values()))) / "deep"
        directory.mkdir(parents=True)
        (directory / "state").write_text("saved")
        Path(DONE).touch()
""".replace("DONE", repr(str(tmp_path / "done")))
    scope: dict[str, Any] = {"modal": modal, "__name__": __name__}
    exec(source, scope)
    volume = modal.Volume.from_name(name, create_if_missing=True, client=client)
    app.cls(serialized=True, volumes={"/modal-gpu-session": volume})(scope["Writer"])
    app.deploy(name=name, client=client)
    assert modal.Cls.from_name(name, "Writer", client=client)().begin.remote()
    directory = Path(places["XDG_DATA_HOME"], "modal_gpu_magic", "volumes", name)
    assert directory.is_dir()
    stop_app(name, client)
    modal.Volume.objects.delete(name, client=client)
    eventually((tmp_path / "done").exists)
    eventually(lambda: not directory.exists())
