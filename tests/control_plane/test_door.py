"""What a stranger, or code in a container, might try: addresses made up, links planted, hashes that are another's."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest
from modal_proto import api_pb2

from modal_gpu_magic.control_plane.files.loopback import Loopback, Span
from modal_gpu_magic.control_plane.files.parts import put
from modal_gpu_magic.control_plane.images.contents import Contents
from modal_gpu_magic.control_plane.refusals import Invalid, NotFound
from modal_gpu_magic.control_plane.scheduling import capacity
from tests.control_plane.scene import Scene, scene


def test_no_two_spans_have_one_signature() -> None:
    """Fields joined by spaces could be cut at another place: part of a path became a hash."""
    loopback = Loopback()
    spans = [
        Span(Path("/v/a b"), 1, 2, "c"),
        Span(Path("b c"), 1, 2, "/v/a"),
        Span(Path("b"), 1, 2, "c /v/a"),
        Span(Path("/v/a b c"), 1, 2, ""),
        Span(Path("c /v/a b"), 1, 2, ""),
        Span(Path("/v/a"), 1, 2, "b c"),
        Span(Path("/v/a\udcff"), 1, 2, ""),
        Span(Path("/v/a\\udcff"), 1, 2, ""),
    ]
    signatures = {loopback._signature(verb, span) for verb in ("PUT", "GET") for span in spans}
    assert len(signatures) == 2 * len(spans)


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    volume, outside, content = tmp_path / "volumes" / "v", tmp_path / "outside", tmp_path / "content"
    volume.mkdir(parents=True)
    outside.write_text("mine")
    content.write_text("new")
    (volume / ".data.half").symlink_to(outside)
    (volume / "data").symlink_to(outside)
    put(volume, volume / "data", content, 0o600)
    assert outside.read_text() == "mine"
    assert ((volume / "data").read_text(), (volume / "data").is_symlink()) == ("new", False)
    assert not list((volume.parent / ".coming").iterdir())


def test_a_part_is_not_written_through_a_link(tmp_path: Path) -> None:
    from modal_gpu_magic.control_plane.files.loopback import _opened

    outside = tmp_path / "outside"
    outside.write_text("mine")
    (tmp_path / "whole").symlink_to(outside)
    with pytest.raises(OSError, match="symbolic"):
        _opened(Span(tmp_path / "whole"))
    assert outside.read_text() == "mine"


def test_a_blob_with_another_content_is_refused(tmp_path: Path) -> None:
    contents, blob = Contents(tmp_path / "contents"), tmp_path / "blob"
    blob.write_bytes(b"evil")
    wanted = hashlib.sha256(b"good").hexdigest()
    with pytest.raises(Invalid, match="another hash"):
        contents.adopt(wanted, blob)
    assert not contents.has(wanted)
    with pytest.raises(NotFound, match="has not been sent"):
        contents.adopt(wanted, tmp_path / "nothing")
    blob.write_bytes(b"good")
    contents.adopt(wanted, blob)
    assert contents.path(wanted).read_bytes() == b"good"


@scene
async def test_no_request_starts_containers_without_end() -> None:
    here = Scene(api_pb2.Function(), min_containers=2**31 - 1, max_containers=2**31 - 1)
    here.scheduler.scale(here.function)
    assert len(here.machine.started) == capacity.MOST_UNITS
    await asyncio.sleep(0)
