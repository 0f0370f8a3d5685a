"""Open a notebook in JupyterLab: `python notebooks/lab.py notebooks/01-first-cell.ipynb [options of JupyterLab]`.

Prints the address, and how to stop; the server's log goes to a file. Works as root, too.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from jupyter_server.serverapp import list_running_servers

LOG = Path(sys.prefix) / "lab.log"
START_SECONDS = 90.0
"""How long JupyterLab may take to start."""
TAIL_LINES = 15
"""Lines of the log shown when JupyterLab did not start."""


def main(path: Path, options: list[str]) -> int:
    """Run JupyterLab until Ctrl+C or until the server ends; returns the exit status."""
    command = [
        *(sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={path.parent.resolve()}"),
        *(f"--LabApp.default_url=/lab/tree/{path.name}", "--LabApp.news_url="),
        *("--allow-root",) * (os.geteuid() == 0),
        *options,
    ]
    with LOG.open("w", encoding="utf-8") as log:
        # A session of its own: JupyterLab asks a question at Ctrl+C, which nobody would see.
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        info = _info(server)
        if info is None:
            lines = LOG.read_text(encoding="utf-8").splitlines()[-TAIL_LINES:]
            print("JupyterLab did not start:", *lines, sep="\n", file=sys.stderr)
            return 1
        print(f"JupyterLab: {info['url']}lab/tree/{path.name}?token={info['token']}")
        print(f"Stop with Ctrl+C. Log: {os.path.relpath(LOG)}", flush=True)
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        if server.poll() is None:
            server.send_signal(signal.SIGTERM)
            server.wait()


def _info(server: subprocess.Popen[bytes]) -> dict[str, Any] | None:
    """Wait for the server's address and token; None: the server did not start."""
    end = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < end:
        for info in list_running_servers():
            if info["pid"] == server.pid and _listens(info):
                found: dict[str, Any] = info
                return found
        time.sleep(0.1)
    return None


def _listens(info: dict[str, Any]) -> bool:
    """Whether the server takes connections: JupyterLab writes its address down before that."""
    try:
        socket.create_connection((info["hostname"], info["port"]), timeout=1.0).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
