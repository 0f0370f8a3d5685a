"""Two uploads of one file at once: ■ came too late to stop the first, and the line was run again."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from modal_gpu_magic.control_plane.files.loopback import _opened
from modal_gpu_magic.control_plane.files.parts import incoming

if TYPE_CHECKING:
    from pathlib import Path

    from modal_gpu_magic.control_plane.files.parts import Incoming

CONTENT = b"content" * 100


@pytest.fixture
def twice(tmp_path: Path) -> tuple[Incoming, Incoming]:
    volume = tmp_path / "volume"
    volume.mkdir()
    hashes = (hashlib.sha256(CONTENT).hexdigest(),)
    first, second = (incoming(volume, volume / "file", len(CONTENT), 0o644, hashes) for _ in range(2))
    assert first.missing() == second.missing() == [0]
    first.whole.write_bytes(CONTENT)
    return first, second


def test_the_second_s_part_comes_when_the_first_is_through(twice: tuple[Incoming, Incoming]) -> None:
    first, second = twice
    first.finish()
    with open(_opened(second.span(0)), "wb") as stream:  # noqa: PTH123 - a descriptor
        stream.write(CONTENT)
    assert not second.directory.exists()
    assert second.missing() == []
    second.finish()
    assert second.target.read_bytes() == CONTENT


def test_both_finish(twice: tuple[Incoming, Incoming]) -> None:
    first, second = twice
    first.finish()
    second.finish()
    assert first.target.read_bytes() == CONTENT


def test_what_is_in_the_way_leaves_the_parts_where_they_are(twice: tuple[Incoming, Incoming]) -> None:
    first, _ = twice
    first.span(0).mark.touch()
    first.target.mkdir()
    with pytest.raises(IsADirectoryError):
        first.finish()
    assert first.missing() == []
