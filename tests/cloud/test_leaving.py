"""A detached session whose network or token fails: the run goes on, and all of it comes when they are back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.cloud.cloud import Cloud, cloud
from tests.cloud.conftest import LINK
from tests.e2e.kernel import Kernel, Result

pytestmark = pytest.mark.timeout(300)
SOON: Final = 60.0
CELL: Final = """
import time
for number in range(40):
    print("line", number, flush=True)
    if number == 20:
        (flags / "half").touch()
        while not (flags / "go").exists():
            time.sleep(0.01)
(flags / "over").touch()
made.append(2)
made
"""
LINES: Final = "".join(f"line {number}\n" for number in range(40))
WAY_OUT: Final = "`modal setup`"


@pytest.fixture(scope="module")
def far() -> Iterator[Cloud]:
    with cloud(LINK) as running:
        yield running


@pytest.fixture(scope="module")
def one(far: Cloud) -> Iterator[Kernel]:
    with Kernel(env=far.environ) as kernel:
        kernel.load()
        yield kernel


@pytest.fixture(scope="module")
def two(far: Cloud) -> Iterator[Kernel]:
    with Kernel(env=far.environ) as kernel:
        kernel.load()
        yield kernel


@pytest.fixture(autouse=True)
def _whole(far: Cloud) -> Iterator[None]:
    """Network and token work again after each test."""
    yield
    far.proxy.mend()
    for file in far.gates.folder.iterdir():
        file.unlink()


def begin(kernel: Kernel, session: str, flags: Path, patience: float = 600) -> None:
    """Begin a detached session with a value."""
    kernel.run(f"%config ModalGpu.patience = {float(patience)}")
    assert kernel.run(f"%modal_gpu use T4 --session {session} --detach --keep-warm 5m").ok
    made = kernel.remote(f"import pathlib\nflags, made = pathlib.Path({str(flags)!r}), [1]", "", timeout=100)
    assert made.ok, made.error


def when(condition: Callable[[], bool], *steps: Callable[[], object]) -> threading.Thread:
    """Do some steps in a thread, once a condition holds."""

    def run() -> None:
        until = time.monotonic() + SOON
        while not condition():
            if time.monotonic() > until:
                return
            time.sleep(0.01)
        for step in steps:
            step()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def is_one_sentence(result: Result) -> bool:
    """Whether an error is shown as one line, and nothing is said to have ended."""
    said = " ".join(result.said.split())
    return len(result.traceback.strip().splitlines()) == 1 and "container ended" not in said and "was ended" not in said


def comes_whole(kernel: Kernel, session: str) -> None:
    """All of the run comes to a kernel that attaches, and its values."""
    attached = kernel.run(f"%modal_gpu attach {session}", timeout=100)
    assert attached.ok, attached.error
    assert (attached.stdout, attached.value()) == (LINES, "[1, 2]")
    assert kernel.print("made") == "[1, 2]"
    assert kernel.remote("made", "", timeout=100).value() == "[1, 2]"


def test_a_network_that_is_gone_for_a_part_of_the_patience_costs_nothing(
    far: Cloud, one: Kernel, two: Kernel, tmp_path: Path
) -> None:
    """Gone for 10 s of 100: as long, of what a user waits, as a minute of the default ten."""
    begin(one, "minute", tmp_path, patience=100)
    back: list[float] = []

    def cut() -> None:
        far.proxy.cut(10)
        back.append(time.time() + 10)
        (tmp_path / "go").touch()

    when((tmp_path / "half").exists, cut)
    ran = one.remote(CELL, "", timeout=100)
    assert ran.ok, ran.error
    assert (ran.stdout, ran.value()) == (LINES, "[1, 2]")
    assert (tmp_path / "over").stat().st_mtime < back[0], "the run has ended in its container meanwhile"
    assert one.remote("made", "").value() == one.print("made") == "[1, 2]"
    assert two.run("%modal_gpu attach minute").ok


def test_a_network_that_is_gone_for_good_ends_no_run(far: Cloud, one: Kernel, two: Kernel, tmp_path: Path) -> None:
    begin(one, "good", tmp_path, patience=3)
    when((tmp_path / "half").exists, far.proxy.refuse)
    left = one.remote(CELL, "", timeout=100)
    assert left.error.startswith("GivenUp: the connection to Modal was lost for 3 s")
    assert "`%modal_gpu attach good`" in left.error
    assert "cancel" not in left.error
    assert is_one_sentence(left)
    assert "the cell is still running" in " ".join(left.said.split())
    far.proxy.mend()
    assert one.run("%modal_gpu attach").ok, "the kernel is connected again, and would have cancelled the run by now"
    (tmp_path / "go").touch()
    comes_whole(two, "good")
    assert "`%modal_gpu attach good` takes it back" in one.remote("made", "", timeout=100).error


def test_a_token_that_is_refused_at_the_spawn_costs_one_sentence(
    far: Cloud, one: Kernel, two: Kernel, tmp_path: Path
) -> None:
    begin(one, "spawn", tmp_path)
    for rpcs in ("FunctionMap", "*"):
        far.gates.fail(rpcs, status="UNAUTHENTICATED")
        refused = one.remote("made.append(0)", "", timeout=100)
        assert WAY_OUT in refused.error
        assert is_one_sentence(refused), refused.said
        far.gates.mend(rpcs)
    (tmp_path / "go").touch()
    ran = one.remote(CELL, "", timeout=100)
    assert (ran.ok, ran.stdout) == (True, LINES), ran.error
    assert "was ended" not in ran.said
    comes_whole(two, "spawn")


def test_a_token_that_is_refused_in_mid_run_loses_nothing(far: Cloud, one: Kernel, two: Kernel, tmp_path: Path) -> None:
    begin(one, "token", tmp_path)
    when((tmp_path / "half").exists, lambda: far.gates.fail("*", status="UNAUTHENTICATED"))
    left = one.remote(CELL, "", timeout=100)
    assert WAY_OUT in left.error
    assert "`%modal_gpu attach token`" in left.error
    assert is_one_sentence(left), left.said
    (tmp_path / "go").touch()
    for command in ("attach token", "attach"):
        refused = two.run(f"%modal_gpu {command}", timeout=100)
        assert refused.error.startswith("SetupError: Modal refused the token")
        assert WAY_OUT in refused.error
        assert is_one_sentence(refused)
    assert two.run("%modal_gpu status").ok
    far.gates.mend("*")
    comes_whole(two, "token")
    assert "`%modal_gpu attach token` takes it back" in one.remote("made", "", timeout=100).error


def test_the_kernel_itself_goes_on_once_the_token_works_again(far: Cloud, one: Kernel, tmp_path: Path) -> None:
    begin(one, "again", tmp_path)
    when((tmp_path / "half").exists, lambda: far.gates.fail("*", status="UNAUTHENTICATED"))
    assert WAY_OUT in one.remote(CELL, "", timeout=100).error
    far.gates.mend("*")
    (tmp_path / "go").touch()
    ran = one.remote("made.append(3)\nmade", "", timeout=100)
    assert ran.value() == "[1, 2, 3]", "the run of before has been settled"
    assert "was ended" not in ran.said
