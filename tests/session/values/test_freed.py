"""The shared memory of values is free again once they have been received, and the values themselves stay usable."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from modal_gpu_magic import Session
from modal_gpu_magic.errors import ContainerLost
from modal_gpu_magic.sdk.client import connect

NUMBERS = 500_000
"""Numbers of an array that goes out of band: 4 MB."""


@pytest.fixture
def session() -> Iterator[Session]:
    started = Session(name="freed", backend="local")
    started.run("import os\nimport numpy as np")
    yield started
    started.stop()


def files() -> list[Path]:
    """The files of all stores of this process's control plane."""
    return [path for path in Path(str(connect("local").store)).rglob("*") if path.is_file()]


def mapped(pid: int) -> int:
    """Bytes of the stores' files that a process has mapped."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    spans = [line.split(maxsplit=1)[0] for line in lines if re.search(r"/buffers/", line)]
    return sum(int(end, 16) - int(start, 16) for start, end in (span.split("-") for span in spans))


def test_sent_values(session: Session) -> None:
    pid = session.run("os.getpid()")
    for number in range(4):
        session.namespace["sent"] = np.full(NUMBERS, float(number))
        assert session.run("sent[0] + sent[-1]") == 2 * number
        assert files() == []
        assert mapped(pid) < 1.1 * 8 * NUMBERS
    assert session.run("sent.sum()") == 3 * NUMBERS  # the container still has its mapping
    del session.namespace["sent"]
    session.run("1")
    assert mapped(pid) == 0


def test_returned_values(session: Session) -> None:
    before = mapped(os.getpid())
    for number in range(4):
        session.run(f"made = np.full({NUMBERS}, {number}.0)\nlist_of = [made[: {NUMBERS} // 2].copy()]")
        assert files() == []
        assert session.namespace["made"][-1] == session.namespace["list_of"][0][0] == number
    session.namespace["made"] = None
    del session.namespace["list_of"]
    pid = session.run("os.getpid()")
    session.run("1")
    assert mapped(os.getpid()) <= before
    assert mapped(pid) == 0


def test_values_that_change_on_both_sides(session: Session) -> None:
    shared = session.namespace["shared"] = np.zeros(NUMBERS)
    session.namespace["box"] = {"inner": shared}
    for number in range(1, 4):
        shared[0] += 1
        assert session.run("box['inner'][1] += 1\nfloat(shared[:2].sum())") == 2 * number
        assert files() == []
    assert session.namespace["box"]["inner"] is session.namespace["shared"] is shared
    assert list(shared[:3]) == [3, 3, 0]


def test_fetched_values(session: Session) -> None:
    session.run(f"large = np.arange({NUMBERS})", fetch_bytes=1000)
    large = session.fetch("large")
    assert (files(), large[-1]) == ([], NUMBERS - 1)


def test_after_an_error(session: Session) -> None:
    session.namespace["sent"] = np.ones(NUMBERS)
    with pytest.raises(ZeroDivisionError):
        session.run("made = sent + 1\n1 / 0")
    assert (files(), session.namespace["made"][0]) == ([], 2)


def test_after_the_container_was_killed(session: Session) -> None:
    session.namespace["sent"] = np.ones(NUMBERS)
    with pytest.raises(ContainerLost):
        session.run("import os, signal\nsent\nos.kill(os.getpid(), signal.SIGKILL)")
    assert files() == []
    assert session.run("sent.sum()") == NUMBERS
    assert files() == []


def test_after_the_end_of_the_session() -> None:
    stores = Path(str(connect("local").store))
    of_others = set(stores.iterdir())  # sessions that another thread ends, or whose container began after their end
    ended = Session(name="ended", backend="local")
    ended.namespace["sent"] = np.ones(NUMBERS)
    ended.run("made = sent + 1\nlarge = sent.copy()", fetch_names=("made",))
    pid = ended.run("import os\nos.getpid()")
    (own,) = set(stores.iterdir()) - of_others
    ended.stop()
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait(60)
    until = time.monotonic() + 60
    while own.exists():  # another thread ends the session
        assert time.monotonic() < until, list(own.iterdir())
        time.sleep(0.02)
    assert ended.namespace["made"][-1] == 2


def test_values_of_a_run_that_was_never_sent(session: Session) -> None:
    """The values are packed, and a later one refuses."""

    class Moody:
        calls = 0

        def __reduce__(self) -> Any:
            type(self).calls += 1
            if type(self).calls > 1:
                raise ValueError("not now")
            return int, ()

    session.namespace.update(sent=np.ones(NUMBERS), zeta=Moody())
    with pytest.raises(Exception, match="zeta"):
        session.run("sent, zeta")
    del session.namespace["zeta"]
    session.run("1")
    assert files() == []
