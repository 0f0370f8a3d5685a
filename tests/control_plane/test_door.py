"""What a stranger, or code in a container, might try: addresses made up, links planted, hashes that are another's."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from modal_proto import api_pb2

from modal_gpu_magic.control_plane.files.loopback import Loopback, Span
from modal_gpu_magic.control_plane.files.parts import PART, incoming, put
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


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[Loopback, aiohttp.ClientSession]]:
    """The HTTP listener, and somebody who asks."""
    loopback = Loopback()
    try:
        async with aiohttp.ClientSession() as session:
            yield loopback, session
    finally:
        await loopback.close()


async def chunks(count: int) -> AsyncIterator[bytes]:
    """A body of `count` MiB that does not say how long it is."""
    for _ in range(count):
        yield bytes(1 << 20)


def test_a_body_is_no_longer_than_its_address_says(tmp_path: Path) -> None:
    """In one piece or in many: what is too long is refused, and is not kept."""

    async def put_all() -> list[int]:
        async with listening() as (loopback, session):
            answers = []
            for number, body in enumerate((b"x" * 101, chunks(300), b"x" * 100)):
                url = await loopback.to_put(Span(tmp_path / f"{number}", length=100))
                async with session.put(url, data=body) as answer:
                    answers.append(answer.status)
            return answers

    assert asyncio.run(put_all()) == [413, 413, 200]
    assert [path.name for path in tmp_path.iterdir() if path.stat().st_size > 100] == []
    assert (tmp_path / "2").read_bytes() == b"x" * 100


def test_an_address_that_was_not_made_has_no_body_read(tmp_path: Path) -> None:
    async def put_them() -> list[int]:
        async with listening() as (loopback, session):
            url = await loopback.to_put(Span(tmp_path / "a", length=1 << 40))
            answers = []
            for wrong in (
                url.replace("length=1", "length=2"),
                url[:-1],
                url + "0",
                url.partition("?")[0],
                f"{url}&x=%",
            ):
                async with session.put(wrong, data=chunks(64)) as answer:
                    answers.append(answer.status)
            async with session.get(url) as answer:
                answers.append(answer.status)
            return answers

    answers = asyncio.run(put_them())
    assert answers[:4] == [403] * 4
    assert answers[5] == 403
    assert list(tmp_path.iterdir()) == [] or answers[4] == 200


def test_what_cannot_be_read_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "secret")

    async def get_them() -> list[int]:
        async with listening() as (loopback, session):
            answers = []
            for name in ("gone", ".", "link"):
                async with session.get(await loopback.to_get(Span(tmp_path / name, length=4))) as answer:
                    answers.append(answer.status)
            return answers

    assert asyncio.run(get_them()) == [404, 404, 404]


def test_what_the_system_refuses_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def put_it() -> tuple[int, str]:
        async with listening() as (loopback, session):
            url = await loopback.to_put(Span(tmp_path, length=4))
            async with session.put(url, data=b"abcd") as answer:
                return answer.status, await answer.text()

    assert asyncio.run(put_it()) == (507, "Is a directory.")
    assert "Traceback" not in caplog.text


def test_a_part_that_is_overwritten_is_not_taken_for_whole(tmp_path: Path) -> None:
    """The part came, then other bytes at its address: the file is not made of these."""
    volume, good = tmp_path / "v", b"good" * 10
    volume.mkdir()
    coming = incoming(volume, volume / "f", len(good), 0o644, (hashlib.sha256(good).hexdigest(),))
    assert coming.missing() == [0]

    async def put_both() -> list[int]:
        async with listening() as (loopback, session):
            answers = []
            for body in (good, b"evil" * 10):
                async with session.put(await loopback.to_put(coming.span(0)), data=body) as answer:
                    answers.append(answer.status)
            return answers

    assert asyncio.run(put_both()) == [200, 400]
    assert coming.missing() == [0]


def test_parts_are_as_long_as_the_file(tmp_path: Path) -> None:
    coming = incoming(tmp_path, tmp_path / "f", PART + 7, 0o644, ("0" * 64, "1" * 64))
    assert [coming.span(number).length for number in (0, 1)] == [PART, 7]
