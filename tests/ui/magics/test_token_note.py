"""Without a Modal token, `%load_ext` says where cells run: once a kernel, and no cell says it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from modal_gpu_magic.ui.magics.extension import LOCAL_MESSAGE
from tests.ui.shell import in_shell

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "os.environ.update(MODAL_TOKEN_ID='a', MODAL_TOKEN_SECRET='b')"
SCRIPT = """
import os
del os.environ["MODAL_GPU_BACKEND"]
{before}
out["load"] = run("%load_ext modal_gpu_magic")
out["again"] = run("%reload_ext modal_gpu_magic")
out["cell"] = run("%%modal_gpu H100 --backend local\\n1 + 1")
"""


@pytest.mark.parametrize(
    "before, said",
    [
        ("", True),
        (TOKEN, False),
        ("os.environ['MODAL_GPU_BACKEND'] = 'local'", False),
        ("os.environ['MODAL_GPU_BACKEND'] = 'lokal'", False),
        ("shell.config.ModalGpu.backend = 'local'", False),
    ],
    ids=["no token", "a token", "a backend", "a wrong backend", "a configured backend"],
)
def test_it_is_said_once(tmp_path: Path, before: str, said: bool) -> None:
    shown = in_shell(tmp_path, SCRIPT.format(before=before))
    assert " ".join(shown["load"][0].split()) == (LOCAL_MESSAGE if said else "")
    assert max(map(len, shown["load"][0].splitlines()), default=0) <= 80
    assert shown["again"] == ["", ""]
    assert "token" not in shown["cell"][0]
