"""Values whose own code raises anything at all: each stays or returns, and the container goes on."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

RAISED = (
    "ValueError('no')",
    "SystemExit('no')",
    "KeyboardInterrupt('no')",
    "GeneratorExit('no')",
    "Own('no')",
    "Mute()",
)
HOOKS = (
    *("__reduce__", "__reduce_ex__", "__getstate__", "__len__", "__eq__", "__hash__", "__repr__", "__iter__"),
    *("__getattr__", "__getattribute__", "__class__", "__dict__", "__sizeof__", "_repr_html_", "estimated_size"),
    *("__getnewargs__", "shape", "nbytes", "__name__", "__module__"),
)
KINDS = ("object", "list", "dict", "tuple", "Exception", "type")
PROPERTIES = frozenset({"__class__", "__dict__", "shape", "nbytes", "__name__", "__module__"})

WORKER = """
import os, pickle, sys
out = os.fdopen(os.dup(1), "wb")
import modal_gpu_magic
from modal_gpu_magic.container.worker import Worker
from modal_gpu_magic.wire.messages.events import Request

kind, hooks, properties, raised = pickle.loads(sys.stdin.buffer.read())
worker = Worker("tests")
wrong = []

def ran(number, source, binds=()):
    run, reads = f"run-{number}", ("bad", "several", "fine")
    given = dict(generation=worker.generation, binds=binds, reads=reads, fetch_bytes=1 << 20)
    return worker.run(Request(run, modal_gpu_magic.__version__, source, number, **given), lambda _: None, str)

def define(hook, error):
    hooked = f"def hook(self, *_, **__): raise {error}\\n    {hook} = {'property(hook)' if hook in properties else 'hook'}"
    if kind == "type":
        return f"class Meta(type):\\n    {hooked}\\nclass Bad(metaclass=Meta): pass"
    return f"class Bad({kind}):\\n    {hooked}"

number = 0
for hook in hooks:
    for error in raised:
        number += 10
        made = f'''
class Own(BaseException): pass
class Mute(BaseException):
    def __str__(self): raise self
{define(hook, error)}
fine = [0]
bad = Bad()
several = [bad, fine]
'''
        first = ran(number, made, ("fine", "bad", "several"))
        second = ran(number + 1, "fine.append(1)\\nseveral.append(2)\\nplain = 3", ("plain",))
        third = ran(number + 2, "raise Own('end') from None if bad is None else None")
        worker.hand_over("other", f"run-{number + 1}", None)
        stays = {stay.name for stay in first.stays}
        if not {"fine", "bad", "several"} <= stays.union(first.values.names) or "fine" in stays:
            wrong.append((hook, error, "first", first.values.names, first.failure))
        if not {"plain", "fine"} <= set(second.values.names):
            wrong.append((hook, error, "second", second.values.names, second.failure))
worker.capture.close()
pickle.dump([str(each) for each in wrong], out)
out.flush()
"""


@pytest.mark.parametrize("kind", KINDS)
def test_the_container_goes_on(kind: str) -> None:
    given = pickle.dumps((kind, HOOKS, PROPERTIES, RAISED))
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-c", WORKER]
        done = subprocess.run(command, input=given, capture_output=True, env=env, cwd=place, timeout=200, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert pickle.loads(done.stdout) == []
