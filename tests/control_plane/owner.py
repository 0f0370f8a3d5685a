"""A program in a kernel's place: it owns a control plane, keeps a container busy, and waits to be killed.

It prints one line of JSON: the hello, and the processes of the container. One of them computes in C and holds the GIL,
one has left its session. A forked child of this program holds the control plane's stdin open.
"""

from __future__ import annotations

import json
import os
import sys
import time

from tests.control_plane.plane import Plane, eventually
from tests.control_plane.subjects import make_subjects

ESCAPED = "import subprocess; self.child = subprocess.Popen(['sleep', '300'], start_new_session=True); result = self.child.pid"


def main() -> None:
    """Start everything, say so, wait."""
    plane = Plane({})
    if os.fork() == 0:
        time.sleep(300)
        os._exit(0)
    made = make_subjects()
    with made.app.run(client=plane.client()):
        box = made.Box()
        escaped = box.run.remote(ESCAPED)
        begun = plane.root / "begun"
        box.run.spawn("open(begun, 'w').close()\nwhile True: x = 3 ** 10_000_000", begun=str(begun))
        eventually(begun.exists)
        pids = plane.owned()
        assert escaped in pids
        sys.stdout.write(json.dumps({**plane.hello, "pids": pids}) + "\n")
        sys.stdout.flush()
        time.sleep(300)


if __name__ == "__main__":
    main()
