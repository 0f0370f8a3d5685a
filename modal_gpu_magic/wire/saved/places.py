"""Where the files of a session lie in its Volume: one place for the container that writes and all that read."""

from __future__ import annotations

from typing import Final

from modal_gpu_magic.wire.messages.segments import session_directory

STATE: Final = "state"
"""The directory of the saved state, in the session's directory."""
MANIFEST: Final = "manifest"
"""The file that names all others; it is replaced as a whole."""
GROUPS: Final = "groups"
"""The directory of the groups: names that share objects, each as one sealed pickle."""
BUFFERS: Final = "buffers"
"""The directory of the large buffers, of long pickles and of the working directory's files."""


def state_directory(session: str) -> str:
    """Return the path of a session's saved state in the Volume."""
    return f"{session_directory(session)}/{STATE}"
