"""What a cell leaves in the process beside its values may be anything: the cell ends, and the next one works."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

REPLACED = (
    ("sys.__stdout__", "5"),
    ("sys.__stderr__", "object()"),
    ("sys.modules", "None"),
    ("sys.modules", "5"),
    ("sys.path", "None"),
    ("sys.path", "[*sys.path, 5]"),
    ("os.environ", "None"),
    ("warnings.filters", "None"),
    ("warnings.filters", "[5, (5,)]"),
    ("decimal.getcontext", "None"),
    ("logging.root", "None"),
    ("logging.Logger.manager", "None"),
    ("logging.root.manager.loggerDict", "None"),
    ("logging.root.manager.loggerDict", "{5: 5}"),
    ("numpy.get_printoptions", "lambda: 1 / 0"),
    ("numpy.random.mtrand._rand", "None"),
    ("sys.modules['numpy']", "5"),
    ("_oh", "None"),
)
"""What is replaced, and by what; the next cell puts it back."""
DELETED = ("sys.stdout", "sys.unraisablehook", "sys.argv")

WORKER = """
import os, pickle, sys, traceback
out = os.fdopen(os.dup(1), "wb")
import modal_gpu_magic
from modal_gpu_magic.container.process import guard
from modal_gpu_magic.container.worker import Worker
from modal_gpu_magic.wire.messages.events import Request

replaced, deleted = pickle.loads(sys.stdin.buffer.read())
worker = Worker("tests")
wrong, number = [], 0

def ran(source):
    global number
    number += 1
    given = dict(generation=worker.generation, binds=("kept", "made"), reads=("kept",), fetch_bytes=1 << 20)
    request = Request(f"run-{number}", modal_gpu_magic.__version__, source, number, **given)
    try:
        worker.run(request, lambda _: None, str)
    except BaseException:
        worker.capture.log(source + traceback.format_exc())
        os._exit(1)
    answer = worker.delivery.last  # a large one goes as an event
    has_failed = answer.failure and "\\ndel " not in source  # IPython itself may need what was deleted
    if has_failed or "kept" not in answer.values.names:
        wrong.append((source, answer.failure, answer.values.names))

ran("import decimal, logging, numpy, os, sys, warnings\\nkept = []")
for what, value in replaced:
    ran(f"before = {what}\\n{what} = {value}\\nkept.append(1)")
    ran(f"{what} = before\\nkept.append(2)")
for what in deleted:
    ran(f"before = {what}\\ndel {what}\\nkept.append(1)")
    ran(f"{what} = before\\nkept.append(2)")
ran("import shutil\\nshutil.rmtree(os.getcwd())\\nkept.append(3)")
ran("kept.append(4)\\nos.chdir('/')")
ran("get_ipython().shown = []\\nsys.modules[5] = 5\\nkept.append(5)")
ran("made = len(kept)\\nkept.append(6)")
worker.capture.close()
pickle.dump(list(map(str, wrong)), out)
out.flush()
"""


def test_the_container_goes_on() -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    given = pickle.dumps((REPLACED, DELETED))
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-c", WORKER]
        done = subprocess.run(command, input=given, capture_output=True, env=env, cwd=place, timeout=100, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert pickle.loads(done.stdout) == []
