"""Which backend a cell runs on, and whether there is a token."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from modal_gpu_magic.errors import SetupError
from modal_gpu_magic.sdk.choice import Choice, choose, has_token


@pytest.mark.parametrize(
    "explicit, configured, variable, token, kind, automatic",
    [
        (None, None, None, False, "local", True),
        (None, None, None, True, "cloud", True),
        (None, "", "", True, "cloud", True),
        ("local", "cloud", "cloud", True, "local", False),
        (None, "local", "cloud", True, "local", False),
        (None, "", "local", True, "local", False),
        ("cloud", None, None, False, "cloud", False),
    ],
)
def test_the_nearest_wish_decides(
    explicit: str | None, configured: str | None, variable: str | None, token: bool, kind: str, automatic: bool
) -> None:
    environ = {} if variable is None else {"MODAL_GPU_BACKEND": variable}
    choice = choose(explicit, configured, environ, token=lambda: token)
    assert isinstance(choice, Choice)
    assert (choice.kind, choice.automatic) == (kind, automatic)


@pytest.mark.parametrize(
    "explicit, configured, variable, where",
    [("lokal", None, "", "--backend"), (None, "x", "", "%config"), (None, None, "Cloud", "MODAL_GPU_BACKEND")],
)
def test_a_backend_that_does_not_exist(explicit: str | None, configured: str | None, variable: str, where: str) -> None:
    with pytest.raises(SetupError, match=rf"^{where}.*cloud, local"):
        choose(explicit, configured, {"MODAL_GPU_BACKEND": variable}, token=lambda: True)


BOTH = 'token_id = "ak-1"\ntoken_secret = "as-1"\n'


@pytest.mark.parametrize(
    "content, environ, there",
    [
        (f"[default]\n{BOTH}active = true\n", {}, True),
        (f"[default]\n{BOTH}", {}, True),
        (f"[mine]\n{BOTH}", {}, False),
        (f"[mine]\n{BOTH}active = true\n", {}, True),
        (f"[mine]\n{BOTH}active = false\n", {}, False),
        (f"[mine]\n{BOTH}", {"MODAL_PROFILE": "mine"}, True),
        (f"[mine]\n{BOTH}active = true\n", {"MODAL_PROFILE": "other"}, False),
        (f"[mine]\n{BOTH}active = true\n[other]\nenvironment = 'main'\n", {"MODAL_PROFILE": "other"}, False),
        (f"[default]\n{BOTH}[work]\nactive = true\n", {}, False),
        ('[default]\ntoken_id = "ak-1"\n', {}, False),
        ('[default]\ntoken_id = "ak-1"\n', {"MODAL_TOKEN_SECRET": "as-1"}, True),
        ('[default]\ntoken_secret = "as-1"\n', {"MODAL_TOKEN_ID": "ak-1"}, True),
        ('[default]\ntoken_id = ""\ntoken_secret = ""\n', {}, False),
        (f"[default]\n{BOTH}", {"MODAL_TOKEN_ID": ""}, False),
        ("", {}, False),
        ('[default]\nenvironment = "main"\n', {}, False),
        (f"[default]\n# {BOTH}", {}, False),
        ("token_id = 'ak-1'\ntoken_secret = 'as-1'\n", {}, False),
        ("default = 1\n", {}, False),
        ("this is no toml", {}, False),
        ("[default\ntoken_id", {}, False),
        ("\udcff\udcfe\0", {}, False),
    ],
)
def test_a_token_in_the_active_profile_of_the_file(
    tmp_path: Path, content: str, environ: dict[str, str], there: bool
) -> None:
    """As the SDK itself reads the file (`modal.config`)."""
    path = tmp_path / "modal.toml"
    path.write_bytes(content.encode(errors="surrogateescape"))
    assert has_token({"MODAL_CONFIG_PATH": str(path), **environ}) is there


def test_without_a_file_the_environment_has_both_halves_or_none(tmp_path: Path) -> None:
    nowhere = {"MODAL_CONFIG_PATH": str(tmp_path / "none.toml")}
    assert not has_token(nowhere)
    assert not has_token({**nowhere, "MODAL_TOKEN_ID": "ak-1"})
    assert has_token({**nowhere, "MODAL_TOKEN_ID": "ak-1", "MODAL_TOKEN_SECRET": "as-1"})


def test_the_file_is_looked_for_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert not has_token({})
    (tmp_path / ".modal.toml").write_text(f"[default]\n{BOTH}")
    assert has_token({})


PRESSED = """
import signal, sys, time

class Press:
    def find_spec(self, name, path=None, target=None):
        if name == "modal.app":
            sys.meta_path.remove(self)
            signal.raise_signal(signal.SIGINT)  # in the middle of the import of the SDK
            time.sleep(0.01)

sys.meta_path.insert(0, Press())
try:
    {load}
except KeyboardInterrupt:
    pass
else:
    sys.exit("the press did not come")
{then}
"""


@pytest.mark.parametrize(
    "load, then",
    [
        (
            "from modal_gpu_magic.sdk.client import _modal; _modal()",
            "import modal; _modal(); modal.exception.NotFoundError",
        ),
        (
            "import modal",
            "from modal_gpu_magic.sdk.session_volume import _is_missing\n"
            "from modal.exception import NotFoundError\nassert _is_missing(NotFoundError())",
        ),
    ],
    ids=["ours", "the user's"],
)
def test_an_import_of_the_sdk_that_is_stopped_is_whole_afterwards(load: str, then: str) -> None:
    script = PRESSED.format(load=load, then=then)
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
