"""Places on Volumes and in the session's container, as they are written."""

from __future__ import annotations

import pytest

from modal_gpu_magic.errors import CopyError
from modal_gpu_magic.plan.copy.places import Place, goes_into


@pytest.mark.parametrize(
    "text, volume, path, into",
    [
        ("data:/runs/1", "data", "runs/1", False),
        ("data:runs", "data", "runs", False),
        ("data:/runs/", "data", "runs", True),
        ("data:", "data", "", True),
        ("data:/", "data", "", True),
        ("data://a//./b", "data", "a/b", False),
        ("data:.", "data", "", False),
        ("my-data_1.x:/a b", "my-data_1.x", "a b", False),
        ("data:/a:b", "data", "a:b", False),
        ("session:model.pt", "session", "model.pt", False),
        ("session:/tmp/out/", "session", "/tmp/out", True),
        ("session:../out/x.pt", "session", "../out/x.pt", False),
    ],
)
def test_read(text: str, volume: str, path: str, into: bool) -> None:
    place = Place.read(text)
    assert (place.volume, place.path, place.into, place.is_session) == (volume, path, into, volume == "session")
    assert Place.read(str(place)).path == path


@pytest.mark.parametrize(
    "text, error",
    [
        ("data/runs", "write VOLUME:/path, such as data:/data/runs"),
        ("", "is not a place on a Volume"),
        (":/x", "'' is not the name of a Volume"),
        ("a/b:/x", "'a/b' is not the name of a Volume"),
        (".hidden:/x", "is not the name of a Volume"),
        ("d" * 65 + ":", "up to 64"),
        ("data:../x", "leads out of data"),
        ("data:/a/../../x", "leads out of data"),
    ],
)
def test_wrong(text: str, error: str) -> None:
    with pytest.raises(CopyError, match=error):
        Place.read(text)


def test_parts() -> None:
    place = Place.read("data:/a/b")
    assert (place.name, str(place.above), str(place.below("c/d")), str(place.below(""))) == (
        "b",
        "data:/a",
        "data:/a/b/c/d",
        "data:/a/b",
    )
    assert Place.read("data:").name == "data"


@pytest.mark.parametrize(
    "path, into",
    [(".", True), ("..", True), ("x/..", True), ("runs/", True), ("/", True), ("runs", False), ("a/b.txt", False)],
)
def test_goes_into(path: str, into: bool) -> None:
    assert goes_into(path) is into
