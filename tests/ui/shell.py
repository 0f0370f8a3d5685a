"""A real IPython shell in a child process: a script runs in it, and what it collects in `out` comes back."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from tests.e2e.kernel import clean_environ

if TYPE_CHECKING:
    from pathlib import Path

_BEFORE = """\
import contextlib, io, json, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance(colors="nocolor")
out = {}

def run(source):
    "What a cell printed, and its error's text."
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.redirect_stderr(sys.stdout):
        result = shell.run_cell(source, store_history=True)
    error = result.error_before_exec or result.error_in_exec
    return [printed.getvalue(), f"{type(error).__name__}: {error}" if error else ""]

def tab(text):
    "What IPython's own completer offers at the end of a text, as the texts it leads to."
    from IPython.core.completer import provisionalcompleter
    with provisionalcompleter():
        found = list(shell.Completer.completions(text, len(text)))
    return [text[:each.start] + each.text + text[each.end:] for each in found]

"""
_AFTER = "\nprint('\\n' + json.dumps(out))\n"


def in_shell(home: Path, script: str) -> dict[str, Any]:
    """Run a script that has `shell`, `run(cell)`, `tab(text)` and the dict `out`, which is returned."""
    path = ":".join(place for place in sys.path if place)
    environ = {**clean_environ(home), "PYTHONPATH": path, "COLUMNS": "100"}  # a test runner may have set its own
    child = subprocess.run(
        [sys.executable, "-c", _BEFORE + script + _AFTER],
        capture_output=True,
        text=True,
        env=environ,
        cwd=home / "work",
        timeout=110,
    )
    assert child.returncode == 0, child.stderr
    found: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return found
