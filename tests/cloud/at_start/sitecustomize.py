"""Puts gates into a local control plane that a test's kernel starts: Python runs this file at its start.

The folder of this file is on the kernel's PYTHONPATH, so that only programs of that kernel see it.
"""

import os
import sys

if "TEST_GATES" in os.environ and "modal_gpu_magic.control_plane" in sys.orig_argv:
    import importlib.util

    place = os.path.join(os.path.dirname(os.path.dirname(__file__)), "gates.py")
    spec = importlib.util.spec_from_file_location("test_gates", place)
    gates = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = gates
    spec.loader.exec_module(gates)
    gates.install(os.environ["TEST_GATES"])
