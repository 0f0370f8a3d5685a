"""Write the state of a Pillow picture into a picture that the receiver has, without replacing its memory.

`Image.__setstate__` makes new memory. An `ImageDraw` of the picture, which cannot be sent, would draw on the old one.
"""

from __future__ import annotations

import sys
from typing import Any


def is_picture(kind: type) -> bool:
    """Whether a class is one of Pillow's pictures."""
    image = getattr(sys.modules.get("PIL.Image"), "Image", None)
    return image is not None and issubclass(kind, image)


def write_picture(picture: Any, state: list[Any]) -> bool:
    """Write a state into the memory of a picture.

    Args:
        picture: the receiver's picture.
        state: info, mode, size, palette and pixels (Pillow 13, `Image.__getstate__`).

    Returns:
        False: the memory has another form, or belongs to a file; nothing was written.
    """
    info, mode, size, palette, pixels = state[:5]
    if (picture.mode, picture.size, picture.readonly) != (mode, tuple(size), 0) or picture.getpalette() != palette:
        return False
    picture.info = info
    picture.frombytes(pixels)
    return True
