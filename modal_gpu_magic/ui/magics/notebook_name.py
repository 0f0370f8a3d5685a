"""The name of this kernel's notebook, as far as front ends tell it."""

from __future__ import annotations

import os
import platform
import re
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from IPython.core.interactiveshell import InteractiveShell

JUPYTER: Final = "JPY_SESSION_NAME"
"""Environment variable with the notebook's path: Jupyter Server 2 and newer."""
VS_CODE: Final = "__vsc_ipynb_file__"
"""Variable of the notebook with its path: VS Code."""
NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._-]+")
MOST_CHARACTERS: Final = 40


def notebook_path(shell: InteractiveShell) -> str:
    """Return the path of the notebook; empty: the front end does not tell."""
    return path_of(shell.user_ns, os.environ)


def path_of(namespace: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    """Return the notebook's path from the front end's variables; empty: no front end says one."""
    said = (namespace.get(VS_CODE), environ.get(JUPYTER))
    return next((path for path in said if type(path) is str and path.endswith(".ipynb")), "")


def file_name(path: str) -> str:
    """Return the file name of a notebook's path, of any system; empty: no path."""
    return PurePath(path.replace("\\", "/")).name


def session_name(shell: InteractiveShell) -> str:
    """Return the name of the notebook's detached session: the file's, with the characters that Modal takes."""
    stem = PurePath(file_name(notebook_path(shell))).stem
    return NOT_IN_NAMES.sub("-", stem).strip("-._")[:MOST_CHARACTERS] or "notebook"


def owner_name(shell: InteractiveShell) -> str:
    """Return this kernel for a sentence: `the kernel of train.ipynb on host`."""
    name = file_name(notebook_path(shell))
    return f"the kernel of {name} on {platform.node()}" if name else f"a kernel on {platform.node()}"
