"""Files of volumes from outside of containers, by the SDK and by `modal volume`: what is put is there, once and whole."""

from __future__ import annotations

import hashlib
import io
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import modal
import pytest
from modal._utils.async_utils import synchronizer
from modal.exception import AlreadyExistsError, InvalidError, NotFoundError
from modal_proto import api_pb2

from tests.control_plane.plane import Plane, run_command

MIB = 1 << 20
BIG = bytes(8 * MIB) + os.urandom(5 * MIB) + b"\0" * 100
"""Two parts: one of nothing but zeros, which the SDK does not send, and one that ends in zeros."""


@pytest.fixture(scope="module", params=[1, 2])
def volume(request: pytest.FixtureRequest, client: Any) -> Any:
    name = f"files-{request.param}"
    return modal.Volume.from_name(name, create_if_missing=True, version=request.param, client=client)


def names(volume: Any, path: str = "/", *, recursive: bool = True) -> list[str]:
    return [entry.path for entry in volume.listdir(path, recursive=recursive)]


def read(volume: Any, path: str) -> bytes:
    return b"".join(volume.read_file(path))


def test_what_is_put_is_listed_and_read(volume: Any, tmp_path: Path) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "e" / "script.sh").write_text("echo")
    (tmp_path / "d" / "e" / "script.sh").chmod(0o755)
    with volume.batch_upload() as batch:
        batch.put_file(io.BytesIO(BIG), "/big.bin")
        batch.put_file(io.BytesIO(b""), "empty")
        batch.put_directory(tmp_path / "d", "/d")
    assert names(volume) == ["big.bin", "d", "d/e", "d/e/script.sh", "empty"]
    assert names(volume, "d", recursive=False) == ["d/e"]
    (script,) = volume.listdir("/d/e/script.sh")
    assert (script.type.name, script.size) == ("FILE", 4)
    assert read(volume, "big.bin") == BIG
    assert read(volume, "/empty") == b""
    into = io.BytesIO()
    assert volume.read_file_into_fileobj("big.bin", into) == len(BIG)
    assert into.getvalue() == BIG


def test_a_file_that_exists_is_replaced_with_force_only(volume: Any) -> None:
    for force, content in ((True, b"old"), (True, b"new and longer")):
        with volume.batch_upload(force=force) as batch:
            batch.put_file(io.BytesIO(content), "replaced")
    with pytest.raises(FileExistsError, match="exists in the volume"), volume.batch_upload() as batch:
        batch.put_file(io.BytesIO(b"third"), "replaced")
    assert read(volume, "replaced") == b"new and longer"
    for path, sentence in (("replaced/below", "replaced is a file"), (".", "is a directory")):
        with pytest.raises(FileExistsError, match=sentence), volume.batch_upload(force=True) as batch:
            batch.put_file(io.BytesIO(b"x"), path)


def test_copy_and_remove(volume: Any) -> None:
    with volume.batch_upload(force=True) as batch:
        batch.put_file(io.BytesIO(b"a"), "from/a")
        batch.put_file(io.BytesIO(b"b"), "to/b")
    volume.copy_files(["from/a"], "from/c")
    volume.copy_files(["from/a", "from/c"], "to")
    assert [name for name in names(volume) if name.startswith("to/")] == ["to/a", "to/b", "to/c"]
    assert read(volume, "to/c") == b"a"
    with pytest.raises(InvalidError, match="into itself"):
        volume.copy_files(["from/a"], "from")
    with pytest.raises(InvalidError, match="recursive=True"):
        volume.remove_file("from")
    volume.remove_file("/from/c")
    volume.remove_file("from", recursive=True)
    with pytest.raises(FileNotFoundError, match="from"):
        volume.remove_file("from", recursive=True)
    with pytest.raises(FileNotFoundError, match="No such file"):
        read(volume, "from/c")
    with pytest.raises(NotFoundError, match="No such file"):
        names(volume, "/from")


def test_no_path_and_no_link_leads_out(volume: Any, places: dict[str, str], client: Any, tmp_path: Path) -> None:
    directory = Path(places["XDG_DATA_HOME"], "modal_gpu_magic", "volumes", volume.hydrate(client).name)
    (tmp_path / "file").write_text("outside")
    (directory / "out").symlink_to(tmp_path)
    for path in ("../secrets.json", "out/file", "/out/../../x"):
        with pytest.raises(InvalidError, match="is outside the volume"):
            read(volume, path)
        with pytest.raises(InvalidError, match="is outside the volume"), volume.batch_upload(force=True) as batch:
            batch.put_file(io.BytesIO(b"x"), path)
    with pytest.raises(InvalidError, match="is a link to a path outside"):
        read(volume, "out")
    with volume.batch_upload(force=True) as batch:
        batch.put_file(io.BytesIO(b"inside"), "plain")
    with pytest.raises(InvalidError, match="is a link to a path outside"):
        volume.copy_files(["plain"], "out")
    assert [entry.type.name for entry in volume.listdir("out")] == ["SYMLINK"]
    volume.remove_file("out")
    (directory / "out").symlink_to(tmp_path / "file")
    with volume.batch_upload(force=True) as batch:
        batch.put_file(io.BytesIO(b"inside"), "out")
    assert read(volume, "out") == b"inside"
    assert (tmp_path / "file").read_text() == "outside", "a link is replaced, not followed"


def test_versions_stay(places: dict[str, str], client: Any) -> None:
    """A volume remembers its version, and `modal volume list` shows it."""
    for version in (1, 2):
        modal.Volume.objects.create(f"version-{version}", version=version, client=client)
        creation = api_pb2.OBJECT_CREATION_TYPE_CREATE_FAIL_IF_EXISTS
        again = api_pb2.VolumeGetOrCreateRequest(deployment_name=f"version-{version}", object_creation_type=creation)
        with pytest.raises(AlreadyExistsError, match="already exists"):
            ask(client, "VolumeGetOrCreate", again)
        with pytest.raises(InvalidError, match=f"has version v{version}"):
            modal.Volume.from_name(f"version-{version}", version=3 - version, client=client).hydrate()
    listed = [each.name for each in modal.Volume.objects.list(client=client)]
    assert {"version-1", "version-2"} <= set(listed)
    for version in (1, 2):
        modal.Volume.objects.delete(f"version-{version}", client=client)
    assert not list(Path(places["XDG_DATA_HOME"]).rglob("*version-*"))


def ask(client: Any, rpc: str, request: Any) -> Any:
    """One RPC, as the SDK makes it."""

    async def call() -> Any:
        return await getattr(client._stub, rpc)(request)

    return synchronizer.create_blocking(call)()


def test_an_upload_goes_on_where_it_broke_off_and_sends_nothing_twice(
    client: Any, plane: Plane, places: dict[str, str], tmp_path: Path
) -> None:
    """As the SDK asks, by hand: only so can an upload end in the middle."""
    volume = modal.Volume.from_name("resumed", create_if_missing=True, client=client).hydrate()
    content = os.urandom(8 * MIB) + b"second" + bytes(10)
    parts = (content[: 8 * MIB], b"second")
    asked = [missing(client, volume, content, parts)]
    put(asked[0][1], parts[1])
    asked.append(missing(client, volume, content, parts))
    with pytest.raises(urllib.error.HTTPError, match="400"):
        put(asked[1][0], b"not what was said")
    asked.append(missing(client, volume, content, parts))
    put(asked[2][0], parts[0])
    assert not missing(client, volume, content, parts)
    assert read(volume, "file") == content
    changed = content + b"longer"
    assert list(missing(client, volume, changed, (parts[0], changed[8 * MIB :]))) == [1]
    assert [sorted(urls) for urls in asked] == [[0, 1], [0], [0]]
    coming = Path(places["XDG_DATA_HOME"], "modal_gpu_magic", "volumes", ".coming")
    assert len(list(coming.iterdir())) == 1, "what broke off waits; what is done is gone"


def missing(client: Any, volume: Any, content: bytes, parts: tuple[bytes, ...]) -> dict[int, str]:
    """Ask for a file to be put: the parts to send, with their addresses."""
    blocks = [api_pb2.VolumePutFiles2Request.Block(contents_sha256=hashlib.sha256(part).digest()) for part in parts]
    file = api_pb2.VolumePutFiles2Request.File(path="file", size=len(content), blocks=blocks, mode=0o644)
    request = api_pb2.VolumePutFiles2Request(volume_id=volume.object_id, files=[file])
    response = ask(client, "VolumePutFiles2", request)
    return {block.block_index: block.put_url for block in response.missing_blocks}


def put(url: str, content: bytes) -> None:
    with urllib.request.urlopen(urllib.request.Request(url, content, method="PUT")) as answer:
        assert answer.status == 200


def test_an_address_cannot_be_made_up(client: Any) -> None:
    volume = modal.Volume.from_name("signed", create_if_missing=True, client=client).hydrate()
    with volume.batch_upload(force=True) as batch:
        batch.put_file(io.BytesIO(b"0123456789"), "file")
    url = ask(
        client, "VolumeGetFile2", api_pb2.VolumeGetFile2Request(volume_id=volume.object_id, path="file", start=2, len=5)
    ).get_urls[0]
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"23456"
    for old, new in (
        ("start=2", "start=0"),
        ("file", "other"),
        ("key=", "key=0"),
        ("length=5", ""),
        ("start=2", "start=x"),
    ):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(url.replace(old, new))
    with pytest.raises(urllib.error.HTTPError, match="403"):
        put(url, b"an address to read is none to write")


def test_the_command_line_puts_and_gets(places: dict[str, str], tmp_path: Path) -> None:
    """Also where a proxy is configured, which the SDK would ask for blobs."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "file.txt").write_text("content")
    Path(places["XDG_DATA_HOME"], "modal_gpu_magic", "volumes", "cli").mkdir(parents=True)
    script = "modal volume put cli here /there && modal volume get cli there/file.txt -"
    proxy = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    made = run_command({**places, **proxy}, "sh", "-c", script, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "content" in made.stdout
