"""Pillow's pictures that cells on either side draw on: an `ImageDraw` of the other side keeps its picture."""

from __future__ import annotations

from typing import Final

import pytest

from tests.session.two_memories import TwoMemories

SEES: Final = "seen = picture.mode, picture.size, picture.tobytes(), picture.getpalette(), picture.info"
PICTURES: Final = {
    "colours": "Image.new('RGB', (4, 3))",
    "grey": "Image.new('L', (4, 3), 5)",
    "transparent": "Image.new('RGBA', (4, 3), (1, 2, 3, 4))",
    "palette": "Image.new('RGB', (4, 3), 'red').quantize(4)",
    "bits": "Image.new('1', (4, 3))",
    "numbers": "Image.new('F', (4, 3))",
}
ACTS: Final = {
    "drawn on": "ImageDraw.Draw(picture).point((1, 1), fill=1)",
    "resized": "picture.thumbnail((2, 2))",
    "pixel and note": "picture.putpixel((0, 0), picture.getpixel((1, 0))); picture.info['note'] = 1",
}


def _check(memories: TwoMemories) -> None:
    memories.native(SEES)
    assert memories.here["seen"] == memories.model["seen"]
    memories.remote(SEES)
    assert memories.there["seen"] == memories.model["seen"]


@pytest.mark.parametrize("made", PICTURES.values(), ids=PICTURES)
@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_a_drawing_tool_draws_on_the_picture_after_a_remote_cell(made: str, act: str) -> None:
    memories = TwoMemories()
    memories.native(f"from PIL import Image, ImageDraw\npicture = {made}; tool = ImageDraw.Draw(picture)")
    memories.remote(act)
    _check(memories)
    memories.native("tool.point((1, 0), fill=1)" if "thumbnail" not in act else "picture.putpixel((0, 0), 1)")
    _check(memories)


def test_one_of_another_form_is_replaced_in_its_place() -> None:
    memories = TwoMemories()
    memories.native("from PIL import Image\npicture = Image.new('L', (2, 2)); all = [picture]")
    memories.remote("picture.__setstate__(Image.new('RGB', (3, 1), 'blue').__getstate__())")
    _check(memories)
    memories.native("seen = all[0] is picture")
    assert memories.here["seen"] is True
