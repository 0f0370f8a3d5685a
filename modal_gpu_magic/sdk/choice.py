"""Choose one of the two backends by options, environment and token. Light: `%load_ext` imports this module.

The SDK is not loaded.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from modal_gpu_magic.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Kind = Literal["cloud", "local"]
KINDS: tuple[Kind, ...] = ("cloud", "local")


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen backend.

    Attributes:
        kind: the backend.
        automatic: whether the choice is a default; the magics report a default once per kernel.
    """

    kind: Kind
    automatic: bool


def choose(
    explicit: str | None, configured: str | None, environ: Mapping[str, str], *, token: Callable[[], bool]
) -> Choice:
    """Choose by `--backend`, `%config ModalGpu.backend`, `MODAL_GPU_BACKEND`, in this order; else cloud with a token.

    Raises:
        SetupError: the named backend does not exist.
    """
    for value, source in (
        (explicit, "--backend"),
        (configured, "%config ModalGpu.backend"),
        (environ.get("MODAL_GPU_BACKEND"), "MODAL_GPU_BACKEND"),
    ):
        if value:
            if value not in KINDS:
                raise SetupError(f"{source} is {value!r}; a backend is one of: {', '.join(KINDS)}.")
            return Choice(value, automatic=False)
    return Choice("cloud" if token() else "local", automatic=True)


def chosen(explicit: str | None = None) -> Kind:
    """Return the backend for plain Python: as named, else by the environment, else cloud if a token exists.

    Raises:
        SetupError: the named backend does not exist.
    """
    return choose(explicit, None, os.environ, token=lambda: has_token(os.environ)).kind


def has_token(environ: Mapping[str, str]) -> bool:
    """Whether the SDK would find a token: each half in the environment, else in the file's active profile.

    Does not load the SDK, which reads the same file with the same parser.
    """
    if all(environ.get(variable) for variable in _TOKEN.values()):
        return True
    found = {**_profile(environ), **{name: environ[each] for name, each in _TOKEN.items() if each in environ}}
    return all(found.get(name) for name in _TOKEN)


def account_key(environ: Mapping[str, str]) -> str:
    """Return a name of the account, by which its rates are kept; it does not tell the token. Empty: no token."""
    token = environ.get(_TOKEN["token_id"]) or str(_profile(environ).get("token_id") or "")
    where = f"{environ.get('MODAL_SERVER_URL', '')} {token}"
    return hashlib.sha256(where.encode()).hexdigest()[:16] if token else ""


_TOKEN = {"token_id": "MODAL_TOKEN_ID", "token_secret": "MODAL_TOKEN_SECRET"}


def _profile(environ: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the active profile of Modal's configuration file: MODAL_PROFILE, else the one marked, else `default`."""
    path = Path(environ.get("MODAL_CONFIG_PATH") or Path.home() / ".modal.toml")
    try:
        text = path.read_text(encoding="utf-8")
        import toml

        profiles = toml.loads(text)
    except Exception:  # noqa: BLE001 - toml raises IndexError and others; the SDK then finds no token
        return {}
    marked = (name for name, profile in profiles.items() if isinstance(profile, dict) and profile.get("active") is True)
    profile = profiles.get(environ.get("MODAL_PROFILE") or next(marked, "default"), {})
    return profile if isinstance(profile, dict) else {}
