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


def set_picture(picture: Any, state: list[Any]) -> None:
    """Set the state of a picture, in its own memory if it has one of the same form that belongs to no file.

    Args:
        picture: the receiver's picture.
        state: info, mode, size, palette and pixels (Pillow 13, `Image.__getstate__`).
    """
    info, mode, size, palette, pixels = state[:5]
    if vars(picture) and _form_of(picture) == (mode, tuple(size), palette, 0):
        picture.info = info
        picture.frombytes(pixels)
    else:
        picture.__setstate__(state)


def _form_of(picture: Any) -> tuple[Any, ...]:
    """Return mode, size and palette of a picture, and whether its memory belongs to a file."""
    return picture.mode, picture.size, picture.getpalette(), picture.readonly
