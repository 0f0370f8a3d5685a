"""Runs whose end no kernel has seen: found whatever their kernels did last, and shown in order by the next kernel."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest

from tests.e2e.detached_user import SOON, User, Watched, detach, row_of, wait_for
from tests.e2e.kernel import Kernel

pytestmark = pytest.mark.timeout(300)
DIE = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
APP = "modal_gpu_magic.sdk.app"
DEPLOYED = "modal_gpu_magic.sdk.deployed"
MOMENTS = {
    "before the spawn": f"from {APP} import Call\nCall._spawn = die",
    "before the spawn is answered": f"from {APP} import Call\nspawn = Call._spawn\nCall._spawn = lambda *a: die(spawn(*a))",
    "before the announcement": "from modal_gpu_magic.sdk.registry import Registry\nRegistry.put_runs = die",
    "after the announcement": (
        "from modal_gpu_magic.sdk.registry import Registry\nput = Registry.put_runs\n"
        "Registry.put_runs = lambda *a: die(put(*a))"
    ),
    "before the answer is applied": f"from {DEPLOYED} import DeployedApp\nDeployedApp.reported = die",
}
"""Where a kernel ends, and what it runs to end there."""
LISTED = (
    "len(__import__('modal_gpu_magic.sdk.registry', fromlist=['Registry']).Registry(__import__('modal_gpu_magic.sdk.client'"
    ", fromlist=['connect']).connect('local', lasting=True)).get({!r}).runs.sent)"
)
"""How many runs of a session the registry has."""
UNSENT_LATER = ("before the spawn",)
UNSENT_FIRST = ("before the spawn", "before the announcement", "after the announcement")
"""The moments at which the cell has not been sent: the first one, which waits for a container, is announced before."""
WAITING = (
    "__import__('modal_gpu_magic.sdk.registry', fromlist=['Registry']).Registry(__import__('modal_gpu_magic.sdk.client', "
    "fromlist=['connect']).connect('local', lasting=True)).get({!r}).runs.queued"
)
"""What the registry says of the cells that wait in a session's kernel."""
UNLISTED = """
from modal_gpu_magic.sdk.client import connect
from modal_gpu_magic.sdk.deployed import files_of, with_found
from modal_gpu_magic.sdk.registry import Registry
backend = connect("local", lasting=True)
entry = Registry(backend).get({!r})
print(len(with_found(files_of(backend, entry), entry).runs.queued))
del connect, files_of, with_found, Registry, backend, entry
"""
"""Print how many cells wait in a session's kernel, besides those whose run has a log."""


@pytest.fixture(scope="module")
def kernel(user: User) -> Kernel:
    """The kernel that attaches."""
    return user.kernel()


def dies(kernel: Kernel, source: str, patch: str) -> None:
    """Run a cell in a kernel that ends at a moment of it."""
    patched = kernel.run(f"def die(*a, **o):\n    {DIE}\n{patch}")
    assert patched.ok, patched.error
    kernel.send(source)
    until = time.monotonic() + SOON
    while kernel._manager.is_alive() and time.monotonic() < until:
        time.sleep(0.05)
    assert not kernel._manager.is_alive()


@pytest.mark.parametrize("is_first", [False, True], ids=["later", "first"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kernel_that_dies_around_the_spawn_loses_nothing(
    user: User, kernel: Kernel, moment: str, is_first: bool
) -> None:
    lone, session = user.kernel(), f"dying-{list(MOMENTS).index(moment)}-{is_first}"
    detach(lone, session)
    if not is_first:
        assert lone.remote("runs = 0\nprint('begun')", "").ok
        while "begun" not in row_of(session, kernel):  # until the run is announced
            time.sleep(0.05)
    source = "%%modal_gpu\nimport time\ntime.sleep(0.5)\nruns = globals().get('runs', 0) + 1\nprint('ran', runs)\nruns"
    dies(lone, source, MOMENTS[moment])
    assert kernel.run("globals().pop('runs', None)").ok, "what another session has bound"
    attached = kernel.run(f"%modal_gpu attach {session}")
    was_sent = moment not in (UNSENT_FIRST if is_first else UNSENT_LATER)
    is_named = is_first and moment in ("before the spawn", "after the announcement")
    assert ("the cell was not sent" in attached.traceback) is is_named
    assert attached.ok is not is_named, attached.traceback
    shown = attached.stdout.removeprefix(
        "begun\n"
    )  # the last run that was announced comes first, if it is the last one
    assert shown == ("ran 1\n" if was_sent else "")
    assert [each["text/plain"] for each in attached.bundles("execute_result")] == ["1"] * was_sent
    assert kernel.remote("globals().get('runs', 0)", "").value() == str(int(was_sent))
    assert kernel.run(f"%modal_gpu stop {session}").ok


def test_a_run_that_crosses_a_takeover_is_shown_where_the_session_is(
    user: User, kernel: Kernel, tmp_path: Path
) -> None:
    """The first kernel spawns after the second one's claim, and before the container hears of that claim."""
    first, second, claimed, began = user.kernel(), user.kernel(), tmp_path / "claimed", tmp_path / "began"
    detach(first, "crossing")
    assert first.remote("x = 0\nprint('before')", "").ok
    waits = "import os, time\ndef wait(path):\n    while not os.path.exists(path):\n        time.sleep(0.01)\n"
    late = (
        f"from {APP} import Call\nspawn = Call._spawn\nCall._spawn = lambda *a: (wait({str(claimed)!r}), spawn(*a))[1]"
    )
    assert first.run(waits + late).ok
    slow = (
        f"from {DEPLOYED} import DeployedApp as App\nclaim, hand_over = App._claim, App.hand_over\n"
        f"App._claim = lambda *a: (claim(*a), open({str(claimed)!r}, 'w').close())\n"
        f"App.hand_over = lambda *a: (wait({str(began)!r}), hand_over(*a))[1]"
    )
    assert second.run(waits + slow).ok
    source = f"open({str(began)!r}, 'w').close()\nimport time\ntime.sleep(0.5)\nx += 1\nprint('crossed')\nx"
    crossing = Watched(first, f"%%modal_gpu\n{source}", tmp_path / "ended")
    attached = second.run("%modal_gpu attach crossing")
    assert attached.ok, attached.traceback
    assert attached.stdout == "before\ncrossed\n"
    assert attached.value() == "1"
    assert second.remote("x", "").value() == "1"
    assert crossing.result.stdout == "crossed\n"
    assert "is attached to" in first.remote("x", "").error
    assert second.run("%modal_gpu stop crossing").ok


def test_all_runs_that_nobody_has_seen_the_end_of_are_shown_in_order(
    user: User, kernel: Kernel, tmp_path: Path
) -> None:
    first, second, go, end, waits = user.kernel(), user.kernel(), *(tmp_path / name for name in ("go", "end", "waits"))
    detach(first, "several")
    first.send(
        f"%%modal_gpu\nimport os, time\nmade = [1]\nprint('first begins', flush=True)\n"
        f"while not os.path.exists({str(end)!r}):\n    time.sleep(0.05)\nprint('first ends')\n1 / 0"
    )
    wait_for(first, "first begins")
    user.kill(first)
    slow = (
        f"import os, time\nfrom {DEPLOYED} import DeployedApp as App\ncreate = App._create\n"
        f"def slowly(*a):\n    open({str(waits)!r}, 'w').close()\n"
        f"    while not os.path.exists({str(go)!r}):\n        time.sleep(0.01)\n    return create(*a)\n"
        "App._create = slowly\n"
        # A kernel of today sends no cell before it has the session's values.
        "from modal_gpu_magic.session.background_cells import BackgroundCells\n"
        "BackgroundCells._refuse_taken = lambda _: None"
    )
    assert second.run(slow).ok
    assert second.run("%modal_gpu attach").ok, "the kernel is connected"
    stopped = second.run("%modal_gpu attach several", press=[waits.exists])
    assert "the machine is still being made" in stopped.error
    go.touch()
    second.send("%%modal_gpu\nprint('second')\nlater = [2]\n7")
    until = time.monotonic() + SOON
    while kernel.print(LISTED.format("several")) != "2":
        assert time.monotonic() < until
    user.kill(second)
    end.touch()
    attached = kernel.run("%modal_gpu attach several")
    shown = [each.text or each.kind for each in attached.messages if each.kind in ("stream", "error", "execute_result")]
    before, _, after = "".join(shown).partition("error")
    assert before == "first begins\nfirst ends\n"
    assert "ZeroDivisionError" in attached.traceback
    # The container either runs the second cell, or asks for values that its kernel can no longer send.
    did_run = "not sent" not in attached.error
    assert after == ("second\n7" if did_run else "error")
    values = kernel.remote("made, globals().get('later')", "").value()
    assert values == ("([1], [2])" if did_run else "([1], None)")
    parts = (": import os, time", "failed ·", ": print('second')")
    places = [attached.said.index(part) for part in parts]
    assert places == sorted(places), "each run has its heading, and its receipt if it ran"
    old = kernel.run("%modal_gpu attach several --from END")
    assert old.stdout == ""
    assert kernel.run("%modal_gpu stop several").ok


def test_a_kernel_that_lost_the_session_starts_no_container_for_it(user: User, kernel: Kernel) -> None:
    """The container that knew the claims has ended, so the kernel looks at the registry before it sends."""
    first = user.kernel()
    detach(first, "lost", "--keep-warm 2s")
    assert first.remote("mine = 1", "").ok
    assert kernel.run("%modal_gpu attach lost").ok
    user.ended(1, "lost")
    for source in ("mine", "mine = 2"):
        refused = first.remote(source, "")
        assert "is attached to" in refused.error
        assert "%modal_gpu attach lost" in refused.error
    assert len(user.containers("lost")) == 1
    assert kernel.remote("mine", "").value() == "1"
    assert kernel.run("%modal_gpu stop lost").ok


def test_a_background_cell_that_waited_in_a_dead_kernel_is_named(user: User, kernel: Kernel, tmp_path: Path) -> None:
    lone, end = user.kernel(), tmp_path / "end"
    detach(lone, "queued")
    source = f"import os, time\nwhile not os.path.exists({str(end)!r}):\n    time.sleep(0.05)\nprint('first ends')\n5"
    assert lone.remote("0", "").ok
    assert lone.remote(source, "--bg one").ok
    assert lone.remote("print('second')", "--bg two").ok
    assert lone.remote("print('third')", "--bg three").ok
    assert lone.run("three.cancel()").ok
    until = time.monotonic() + SOON
    while kernel.print(WAITING.format("queued")) != """("print('second')",)""":
        assert time.monotonic() < until
    user.kill(lone)
    end.touch()
    attached = kernel.run("%modal_gpu attach queued")
    assert (attached.ok, attached.stdout, attached.value()) == (True, "first ends\n", "5")
    assert "waited in the former kernel and were not sent: print('second'). Run them again." in attached.said
    assert "not sent" not in kernel.run("%modal_gpu attach queued").said
    assert kernel.run("%modal_gpu stop queued").ok


def test_a_queued_cell_that_was_sent_but_not_announced_is_not_said_to_be_unsent(
    user: User, kernel: Kernel, tmp_path: Path
) -> None:
    lone, end, began, killed = user.kernel(), tmp_path / "end", tmp_path / "began", tmp_path / "killed"
    detach(lone, "unlisted")
    assert lone.remote("import os, time\ndef wait(path):\n    while not os.path.exists(path): time.sleep(0.05)", "").ok
    assert lone.remote(f"wait({str(end)!r})", "--bg one").ok
    assert lone.remote(f"open({str(began)!r}, 'w').close()\nwait({str(killed)!r})\nprint('second')", "--bg two").ok
    assert lone.remote("print('third')", "--bg three").ok
    until = time.monotonic() + SOON
    while kernel.print(f"len({WAITING.format('unlisted')})") != "2":
        assert time.monotonic() < until
    assert lone.run("from modal_gpu_magic.sdk import announcing\nannouncing.PAUSE_SECONDS = 3_600.0").ok
    end.touch()
    assert lone.run("one.result()").ok
    while not began.exists():
        assert time.monotonic() < until
    user.kill(lone)
    while kernel.run(UNLISTED.format("unlisted")).stdout != "1\n":  # until the log of its run begins
        assert time.monotonic() < until
    killed.touch()
    attached = kernel.run("%modal_gpu attach unlisted")
    assert "second" in attached.stdout
    assert "were not sent: print('third'). Run them again." in attached.said
    assert kernel.run("%modal_gpu stop unlisted").ok


def with_replaced_container(user: User, session: str) -> Kernel:
    """A kernel whose session has lost its container: the next one asks for the values, and the cell is sent again."""
    first = user.kernel()
    detach(first, session)
    pid = int(first.remote("import os\nprint(os.getpid())\nx = 1", "").stdout)
    container = psutil.Process(pid)
    container.kill()
    container.wait(SOON)
    return first


def test_a_cell_that_was_sent_again_to_a_new_container_is_one_run(user: User, kernel: Kernel) -> None:
    first = with_replaced_container(user, "replaced")
    sent = first.remote("print('again')\n3", "")
    assert (sent.stdout, sent.value()) == ("again\n", "3"), sent.traceback
    user.kill(first)
    attached = kernel.run("%modal_gpu attach replaced")
    assert attached.ok, attached.traceback
    assert (attached.traceback, attached.stdout, attached.value()) == ("", "again\n", "3")
    assert "Sent at" not in attached.said, "one run needs no heading"
    assert kernel.run("%modal_gpu stop replaced").ok


def test_a_cell_whose_kernel_died_before_it_was_sent_again_is_named(user: User, kernel: Kernel) -> None:
    first = with_replaced_container(user, "unsent")
    second_time = (
        f"from {APP} import Call\nspawn, sent = Call._spawn, []\n"
        "def _spawn(self, *a):\n    sent.append(1)\n    return spawn(self, *a) if len(sent) == 1 else die()\n"
        "Call._spawn = _spawn"
    )
    dies(first, "%%modal_gpu\nprint('never')\nx", second_time)
    attached = kernel.run("%modal_gpu attach unsent")
    assert "the cell was not sent: its kernel ended before. Run the cell again." in attached.error
    assert attached.stdout == ""
    assert kernel.remote("1 + 1", "").value() == "2"
    assert kernel.run("%modal_gpu stop unsent").ok
