"""The names that a detached session has at Modal."""

from __future__ import annotations

import re
from typing import Final

from modal_gpu_magic.errors import SetupError

PREFIX: Final = "modal-gpu"
"""Beginning of the names of a session's App, Queue and Volume by default."""
MOST_CHARACTERS: Final = 64


def object_name(prefix: str, session: str) -> str:
    """Return the name of a session's App, Queue and Volume.

    Raises:
        SetupError: Modal does not take the name.
    """
    name = f"{prefix}-{session}" if prefix else session
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or len(name) > MOST_CHARACTERS:
        raise SetupError(
            f"a detached session cannot be called {session!r}: its name at Modal would be {name!r}, and has letters, "
            f"digits, '-', '_' and '.', {MOST_CHARACTERS} characters at most. Write another one: --session NAME."
        )
    return name
