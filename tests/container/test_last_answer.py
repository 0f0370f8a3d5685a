"""The answer to a cell is kept for a request that comes twice, and no longer."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

WORKER = """
import os, pickle, sys
out = os.fdopen(os.dup(1), "wb")
import modal_gpu_magic
from modal_gpu_magic.container.worker import Worker
from modal_gpu_magic.wire.messages.events import Request

def large():
    last = worker.delivery.last
    return last is not None and sum(map(len, last.values.inline.values()))

worker = Worker("tests")
worker.shell.user_ns["large"] = large

def ran(number, source, **more):
    run = f"run-{number}"
    request = Request(run, modal_gpu_magic.__version__, source, number, generation=worker.generation, **more)
    return worker.run(request, lambda frames: None, lambda: "")

first = ran(1, f"import numpy\\nx = numpy.ones({50 << 20}, 'u1')", binds=("x",))
twice = ran(1, "1 / 0")
sent = sum(map(len, first.values.inline.values())), twice is first
worker.delivery.answer_or_give_up("run-9")  # the notebook gives it up before it has come
known = worker.known("run-1") is first, worker.known("run-2") is None, worker.known("run-9").need.reason
del first, twice
ran(2, "found = large()")
worker.capture.close()
pickle.dump((*sent, *known, worker.shell.user_ns["found"]), out)
out.flush()
"""


def test_values_of_the_last_answer_go_when_the_next_cell_begins() -> None:

    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run([sys.executable, "-c", WORKER], capture_output=True, env=env, cwd=place, timeout=110)
    assert pickle.loads(done.stdout) == (50 << 20, True, True, True, "generation", False), done.stderr.decode()
