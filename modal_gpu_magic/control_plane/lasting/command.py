"""A command of the user whose Modal SDK is connected to a server on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NO_COMMAND = 127
"""The shell's exit code for a command that does not exist."""


def client_environment(record: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment of a command that uses the server of `record`, instead of the user's account."""
    url = str(record["url"])
    env = {name: value for name, value in os.environ.items() if not name.startswith("MODAL_")}
    return {
        **env,
        "MODAL_SERVER_URL": url,
        "MODAL_TOKEN_ID": str(record["token_id"]),
        "MODAL_TOKEN_SECRET": str(record["token_secret"]),
        "MODAL_DISABLE_API_PROXY": "1",  # else the SDK also uses a proxy for loopback
        "MODAL_CONFIG_PATH": str(Path(url.removeprefix("unix://")).with_name("no-profile.toml")),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.defpath)]),
    }


def become(record: Mapping[str, Any], command: Sequence[str]) -> NoReturn:
    """Replace this process by a command that uses the server, which does not wait for the command."""
    try:
        os.execvpe(command[0], list(command), client_environment(record))  # noqa: S606 - the user's own command line
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        sys.exit(NO_COMMAND)
