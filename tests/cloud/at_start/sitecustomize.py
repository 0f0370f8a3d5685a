"""Puts gates into a local control plane that a test's kernel starts: Python runs this file at its start.

The folder of this file is on the kernel's PYTHONPATH, so that only programs of that kernel see it.
"""

import os
import sys

if "TEST_GATES" in os.environ and "modal_gpu_magic.control_plane" in sys.orig_argv:
    import runpy
    from pathlib import Path

    gates = runpy.run_path(str(Path(__file__).parents[1] / "gates.py"), run_name="test_gates")
    gates["install"](os.environ["TEST_GATES"])
