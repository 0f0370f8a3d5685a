"""Puts gates into a local control plane that a test's kernel starts, and sets the clock of a container of the cloud's.

Python runs this file at its start.

The folder of this file is on the kernel's PYTHONPATH, so that only programs of that kernel see it.
"""

import os
import sys
import time

ahead = float(os.environ.get("TEST_CLOCK", "0"))
if ahead and time.time.__name__ == "time":  # a container whose clock is wrong; site reads some directories twice
    _time, _time_ns = time.time, time.time_ns
    time.time = lambda: _time() + ahead
    time.time_ns = lambda: _time_ns() + int(ahead * 1e9)

if "TEST_GATES" in os.environ and "modal_gpu_magic.control_plane" in sys.orig_argv:
    import runpy
    from pathlib import Path

    gates = runpy.run_path(str(Path(__file__).parents[1] / "gates.py"), run_name="test_gates")
    gates["install"](os.environ["TEST_GATES"])
