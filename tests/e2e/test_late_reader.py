"""The reader of the queue stands still for a while: nothing that the container has sent is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.kernel import Kernel

LATE = """
import os, time
from modal_gpu_magic.sdk.held import HeldApp
deliver, late = HeldApp._deliver, []
def deliver_late(app, item):
    if os.path.exists({!r}) and not late:
        late.append(item)
        time.sleep(6)
    deliver(app, item)
HeldApp._deliver = deliver_late
"""


def test_lines_of_a_container_that_died_are_waited_for(kernel: Kernel, tmp_path: Path) -> None:
    flag = tmp_path / "late"
    assert kernel.remote("import os, time", "T4").ok
    assert kernel.run(LATE.format(str(flag))).ok
    source = f"open({str(flag)!r}, 'w').close()\nprint('before', flush=True)\ntime.sleep(1)\nos._exit(3)"
    died = kernel.remote(source, "T4")
    assert died.reply["ename"] == "ContainerLost"
    assert died.stdout == "before\n"
