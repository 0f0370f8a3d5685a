"""Ranks without torch and without Modal: what is refused, what is put out, and that none outlives its parent."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from modal_gpu_magic.container.ranks.launcher import NEEDS_TORCH, remove_abandoned
from modal_gpu_magic.container.ranks.processes import descendants
from modal_gpu_magic.wire.messages.events import Answer, Event
from modal_gpu_magic.wire.messages.log import Assembler
from tests.container.far_side import text_of
from tests.container.smi_double import eventually

ROOT = Path(__file__).parents[3]

FOLDER = tempfile.TemporaryDirectory()
"""Where the process starts; removed with this one."""

WORKER = """
import os, pickle, sys
out = os.fdopen(os.dup(1), "wb")
if sys.argv[1] == "no torch":
    sys.modules["torch"] = None
import modal_gpu_magic
from modal_gpu_magic.container.ranks.launcher import Place
from modal_gpu_magic.container.worker import Worker
from modal_gpu_magic.wire.messages.events import Request, DistributedOptions

worker = Worker("tests", Place(node=0, nodes=2))
worker.shell.user_ns.update(base=40, unused=open(os.devnull), held=open(os.devnull))

def post(frames):
    for frame in frames:
        pickle.dump(frame, out)
    out.flush()

spread = DistributedOptions(torchrun=sys.argv[1] == "no torch", shown=frozenset())
request = Request("run", modal_gpu_magic.__version__, sys.argv[2], 1, reads=("base", "held"), binds=("bound",), distributed=spread)
answer = worker.run(request, post, lambda: "")
worker.capture.close()
pickle.dump(answer, out)
out.flush()
"""
"""A session's process that runs one cell in one rank; its frames and its answer come as pickles."""


def started(source: str, how: str = "plain") -> subprocess.Popen[bytes]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, how, source], stdout=subprocess.PIPE, env=env, cwd=FOLDER.name
    )


def ended(
    process: subprocess.Popen[bytes], came: Callable[[str], object] = lambda _: None
) -> tuple[list[Event], Answer]:
    """All events, and the answer. `came` is called with the text so far."""
    events, assembler = list[Event](), Assembler()
    with process, pipe(process) as output:
        while not isinstance(one := pickle.load(output), Answer):
            events += assembler.feed(pickle.loads(one))
            came(text_of(events))
    return [*events, *one.tail], one


def pipe(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdout is not None
    return process.stdout


def test_a_fresh_process_with_the_values_that_the_cell_reads() -> None:
    """What it binds is the session's; what it does not read, or cannot be pickled, is not there."""
    source = (
        "print(base + 2, __name__)\nbound = [base]\nlost = print\nhas = 'unused' in globals(), 'held' in globals()\nhas"
    )
    events, answer = ended(started(source))
    text = "".join(event.content["text"] for event in events if event.kind == "stream")
    assert text == "42 __main__\n"
    (note,) = [event.content["text"] for event in events if event.kind == "note"]
    assert note.startswith("`held` is not in the ranks: open files cannot be pickled")
    (result,) = [event.content["data"]["text/plain"] for event in events if event.kind == "execute_result"]
    assert result == "(False, False)"
    assert answer.failure is None
    assert {"bound", "has"} <= {*answer.names}


def test_torchrun_without_torch_names_the_way_out() -> None:
    _, answer = ended(started("1", "no torch"))
    assert answer.failure is not None
    assert answer.failure.evalue == NEEDS_TORCH
    assert "--pip torch" in NEEDS_TORCH


def test_an_error_says_which_rank() -> None:
    _, answer = ended(started("bound = 1\n\nraise ValueError('no')"))
    assert answer.failure is not None
    assert (answer.failure.ename, answer.failure.evalue) == ("ValueError", "no")
    assert answer.failure.traceback[-1] == "(node 0 of 2)"
    assert "bound" in answer.names


def test_a_crash_names_the_rank_and_where_it_was(tmp_path: Path) -> None:
    have_come = tmp_path / "have come"

    def came(text: str) -> None:
        if "last words\n" in text:
            have_come.touch()

    source = (
        "import ctypes, os, time\nprint('last words', flush=True)\n"
        f"while not os.path.exists({str(have_come)!r}): time.sleep(0.01)\nctypes.string_at(0)"
    )
    _, answer = ended(started(source), came)
    assert answer.failure is not None
    assert answer.failure.ename == "RankLost"
    assert answer.failure.evalue.startswith("rank 0 died of SIGSEGV. Its last output:\nlast words\n")
    assert "line 4 in <module>" in answer.failure.evalue


LONG = {"sleeps": "import time; time.sleep(300)", "computes": "while True: sum(range(10**5))"}


@pytest.mark.parametrize("source", LONG.values(), ids=LONG.keys())
def test_a_rank_does_not_outlive_its_session(source: str) -> None:
    """The session's process is killed outright, so that it cannot tell anybody."""
    cell = f"import os\nprint(os.environ['MODAL_GPU_RANKS'], flush=True)\n{source}"
    process = started(cell)
    address = ""
    with process, pipe(process) as output:
        while not address:
            events: Any = pickle.loads(pickle.load(output)).events
            address = "".join(event.content["text"] for event in events if event.kind == "stream").strip()
        assert descendants(address)
        process.send_signal(signal.SIGKILL)
        process.wait()
    eventually(lambda: descendants(address) == [])
    directory = Path(address).parent
    assert directory.exists()
    remove_abandoned(directory.parent)
    assert not directory.exists()
