"""Kernels that come back to a detached session: what the other kernel did is true here, and what is said of it too."""

from __future__ import annotations

import contextlib
from pathlib import Path

import psutil
import pytest

from modal_gpu_magic.container.state.saved_session import IDLE_VARIABLE
from tests.e2e.detached_user import SESSION, User, Watched, row_of, wait_until
from tests.e2e.kernel import Kernel

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def one(user: User) -> Kernel:
    return user.kernel()


@pytest.fixture(scope="module")
def two(user: User) -> Kernel:
    return user.kernel()


def begin(kernel: Kernel, session: str, source: str, options: str = "", machine: str = "") -> None:
    """Begin a detached session with some values."""
    used = kernel.run(f"%modal_gpu use T4 --session {session} --detach --keep-warm 60s {machine}")
    assert used.ok, used.error
    made = kernel.remote(source, options)
    assert made.ok, made.traceback


def attach(kernel: Kernel, session: str) -> str:
    attached = kernel.run(f"%modal_gpu attach {session}")
    assert attached.ok, attached.traceback
    return attached.said


def save(kernel: Kernel, session: str) -> None:
    """Save the values of a session now."""
    magics = "get_ipython().magics_manager.magics['cell']['modal_gpu'].__self__"
    saved = kernel.run(f"{magics}.state.sessions[{session!r}].app.runner.save.remote()")
    assert saved.ok, saved.traceback


def test_a_value_that_was_fetched_by_one_kernel_stays_in_the_session(one: Kernel, two: Kernel) -> None:
    begin(one, "fetched", "def double(x):\n    return 2 * x\nitems, count = [1, 2], 5", "--fetch 0")
    attach(two, "fetched")
    assert two.run("double, items, count = double.fetch(), items.fetch(), count.fetch()").ok
    assert two.remote("'a cell that reads none of these'", "").ok
    attach(one, "fetched")
    assert one.remote("double(count), items", "").value() == "(10, [1, 2])"
    assert one.run("double.fetch()(4), items.fetch()").value() == "(8, [1, 2])"


def test_a_module_that_one_kernel_used_natively_stays_in_the_session(one: Kernel, two: Kernel) -> None:
    begin(one, "modules", "import colorsys, wave as sound\nitems = [1]", "--fetch 0")
    attach(two, "modules")
    assert two.run("colorsys.rgb_to_hsv(0, 0, 0), sound.WAVE_FORMAT_PCM").ok
    assert two.remote("'a cell that reads none of these'", "").ok
    assert one.run("for name in ('colorsys', 'sound'): globals().pop(name, None)").ok
    attach(one, "modules")
    assert one.remote("colorsys.rgb_to_hsv(0, 0, 0)[0], sound.WAVE_FORMAT_PCM", "").value() == "(0.0, 1)"


def test_only_values_that_the_notebook_loses_are_said_to_be_replaced(one: Kernel, two: Kernel) -> None:
    begin(one, "replaced", "import json, colorsys as colours\nfrom math import pi\nlost, same = 1, 2")
    assert two.run("import json, colorsys as colours\nfrom math import pi\nlost = 'of the notebook'").ok
    assert "over values of this notebook: lost." in attach(two, "replaced")
    assert "over values of this notebook" not in attach(two, "replaced")
    assert two.run("json, pi = 5, 6").ok
    assert "over values of this notebook: json, pi." in attach(two, "replaced")


def test_a_container_s_value_that_equals_the_notebook_s_own_replaces_nothing(one: Kernel, two: Kernel) -> None:
    begin(one, "equal", "import numpy as np\nrows, grid, box = [1, [2]], np.arange(6).reshape(2, 3), {'a': {1, 2}}")
    attach(two, "equal")
    assert "over values of this notebook" not in attach(two, "equal")
    assert two.run("rows[1].append(3); grid[0, 0] = 7").ok
    assert "over values of this notebook: grid, rows." in attach(two, "equal")
    assert two.run("rows, grid.tolist()").value() == "([1, [2]], [[0, 1, 2], [3, 4, 5]])"


def test_a_value_that_was_fetched_and_changed_is_sent_when_a_cell_reads_it(one: Kernel, two: Kernel) -> None:
    begin(one, "changed", "items = [1, 2]\nboth = [items, items]", "--fetch 0")
    attach(two, "changed")
    assert two.run("items = items.fetch(); items.append(3)").ok
    assert two.remote("'a cell that reads none of these'", "").ok
    assert two.remote("items, both[0] is items, both", "").value() == "([1, 2, 3], True, [[1, 2, 3], [1, 2, 3]])"
    assert two.run("items = 7").ok
    assert two.remote("'none'", "").ok
    assert two.remote("items, both", "").value() == "(7, [[1, 2, 3], [1, 2, 3]])"


def test_a_kernel_whose_values_went_to_another_one_says_who_has_the_session(
    one: Kernel, two: Kernel, tmp_path: Path
) -> None:
    waits, go = tmp_path / "waits", tmp_path / "go"
    begin(one, "late", "import numpy as np\nbig = np.zeros(1_000_000)")
    slow = (
        "import os, time\nfrom modal_gpu_magic.session.values.sync import Values\nincoming = Values.incoming\n"
        f"def slowly(*a):\n    open({str(waits)!r}, 'w').close()\n"
        f"    while not os.path.exists({str(go)!r}):\n        time.sleep(0.01)\n    return incoming(*a)\n"
        "Values.incoming = slowly"
    )
    assert one.run(slow).ok
    watched = Watched(one, "%%modal_gpu\nbig = big + 1", tmp_path / "end")
    wait_until(waits.exists)
    attach(two, "late")
    assert two.remote("big = big + 1\nbig[0]", "").value() == "np.float64(2.0)"
    go.touch()
    assert watched.result.error.startswith("TakenOver: The session late is attached to")
    assert one.run("Values.incoming = incoming").ok
    assert "`%modal_gpu attach late` takes it back" in one.remote("big", "").error
    assert two.remote("big[0]", "").value() == "np.float64(2.0)"


def test_a_name_that_another_kernel_has_deleted_is_not_said_to_have_ended_with_its_container(
    one: Kernel, two: Kernel
) -> None:
    begin(one, "deleted", "stays, goes = list(range(3)), list(range(3))", "--fetch 0")
    attach(two, "deleted")
    assert two.remote("del goes", "").ok
    attach(one, "deleted")
    assert one.remote("stays", "").value() == "[0, 1, 2]"
    for gone in (one.run("goes.fetch()"), one.remote("goes", "")):
        assert gone.reply["ename"] == "LostValueError"
        assert "the session has no such name" in gone.error
        assert "container has ended" not in gone.error


def test_a_kernel_that_comes_back_after_the_end_of_the_container_has_what_was_saved(
    user: User, one: Kernel, two: Kernel
) -> None:
    begin(one, "ended", "first, second = [1], [2]", "--fetch 0")
    attach(two, "ended")
    assert two.remote("first.append(2)", "--keep-warm 2s --fetch 0").ok
    user.ended(1, "ended")
    attach(one, "ended")
    assert one.remote("first, second", "--keep-warm 60s").value() == "([1, 2], [2])"


def test_a_container_that_ends_after_the_attach_and_before_the_next_cell_loses_nothing_that_was_saved(
    user: User, one: Kernel, two: Kernel
) -> None:
    begin(one, "outlived", "first, second = [1], [2]\nboth = [first, second]\nhome = 3", "--fetch 0")
    assert one.remote("first.append(2)", "").ok
    attach(two, "outlived")
    assert two.run(f"{SESSION.format('outlived')}.app.keep_warm(2)").ok
    user.ended(1, "outlived")
    restored = two.remote("first, second, both[0] is first, home", "--keep-warm 60s")
    assert restored.value() == "([1, 2], [2], True, 3)"
    assert "Lost" not in restored.said
    assert two.remote("first.append(3)\nboth", "").value() == "[[1, 2, 3], [2]]"


def test_a_saved_state_that_is_older_than_the_last_run_is_not_taken_for_what_was_attached_to(
    user: User, one: Kernel, two: Kernel
) -> None:
    """The container is killed after the attach, before it has saved what the last run has changed."""
    begin(one, "stale", "import os\nitems, pid = [1], os.getpid()", "--fetch 0", f"--env {IDLE_VARIABLE}=1000")
    pid = int(one.remote("import os\nos.getpid()", "").value())
    attach(two, "stale")
    assert two.run("%modal_gpu status").ok
    save(two, "stale")
    assert two.remote("items.append(2)", "--fetch 0").ok
    attach(one, "stale")
    psutil.Process(pid).kill()
    user.ended(1, "stale")
    stale = one.remote("items", "--keep-warm 60s")
    assert not stale.ok or stale.value() == "[1, 2]", stale.value()


def test_a_kernel_that_comes_back_knows_the_last_run_although_no_kernel_could_announce_its_runs(
    user: User,
) -> None:
    """A kernel announces a run beside it: on a slow machine, another kernel may attach before."""
    one, two = user.kernel(), user.kernel()
    for each in (one, two):
        assert each.run("import modal_gpu_magic.sdk.announcing as late\nlate.PAUSE_SECONDS = 600.0\ndel late").ok
    begin(one, "unannounced", "import os\nitems, pid = [1], os.getpid()", "--fetch 0", f"--env {IDLE_VARIABLE}=1000")
    pid = int(one.remote("import os\nos.getpid()", "").value())
    attach(two, "unannounced")
    save(two, "unannounced")
    assert two.remote("items.append(2)", "--fetch 0").ok
    assert "items.append(2)" in attach(one, "unannounced")
    psutil.Process(pid).kill()
    user.ended(1, "unannounced")
    stale = one.remote("items", "--keep-warm 60s")
    assert not stale.ok, stale.value()


def kill_container(user: User, kernel: Kernel, session: str) -> None:
    pid = int(kernel.remote("import os\nos.getpid()", "").value())
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).kill()
    user.ended(1, session)


def test_a_kernel_that_comes_after_a_container_was_killed_is_told_that_nothing_was_saved(
    user: User, one: Kernel, two: Kernel
) -> None:
    begin(one, "killed", "gone = [1]", "--fetch 0", f"--env {IDLE_VARIABLE}=1000")
    attach(two, "killed")
    kill_container(user, two, "killed")
    assert "its values were not saved" in attach(two, "killed")
    assert two.remote("gone", "").reply["ename"] == "LostValueError"
    assert two.remote("gone = 3; gone", "").value() == "3"


def test_a_kernel_that_comes_after_a_container_was_killed_is_told_how_old_the_values_are(
    user: User, one: Kernel, two: Kernel
) -> None:
    begin(one, "older", "values = [1]", "--fetch 0", f"--env {IDLE_VARIABLE}=1000")
    assert one.remote("values.append(2)", "--keep-warm 2s --fetch 0").ok
    user.ended(1, "older")  # saved at its end
    assert one.remote("values.append(3)", "--keep-warm 60s --fetch 0").ok
    pid = int(one.remote("import os\nprint('last', os.getpid())\nos.getpid()", "").value())
    # The log of a run whose container dies within 0.1 s of it has no end.
    wait_until(lambda: "last" in (row := row_of("older", two)) and "idle until" in row)
    psutil.Process(pid).kill()
    user.ended(2, "older")
    said = " ".join(attach(two, "older").split())
    assert "from its Volume, as they were at" in said
    assert "(what later cells changed is lost): " in said
    assert two.remote("values", "").value() == "[1, 2]"


UNSENT = """
import os, signal
from modal_gpu_magic.sdk.app import Call
Call._spawn = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
"""
"""Ends the kernel just before its next spawn."""


def test_a_kernel_that_comes_after_a_run_which_was_not_sent_has_the_session_s_values(user: User, two: Kernel) -> None:
    lone = user.kernel()
    begin(lone, "unsent", "import time\nitems, both = [1], {}\nboth['items'] = items", "--fetch 0")
    assert lone.run(UNSENT).ok
    lone.send("%%modal_gpu\nitems.append(2)")
    wait_until(lambda: not lone._manager.is_alive())
    attach(two, "unsent")
    assert two.print("type(items).__name__") == "RemoteValue"
    for number in range(2, 4):  # the second cell no longer names what the first one has
        assert two.remote(f"items.append({number})", "").ok
    assert two.remote("time.sleep(0); items, both['items'] is items", "").value() == "([1, 2, 3], True)"


def test_a_kernel_whose_attach_was_stopped_attaches_before_its_next_cell(one: Kernel, two: Kernel) -> None:
    begin(one, "half", "items = [1]", "--fetch 0")
    # The kernel is stopped in the midst of it: the session is here, and its values are not.
    stop = "from modal_gpu_magic.session import facade\nadopt = facade.adopt\ndef stop(*_): raise KeyboardInterrupt\nfacade.adopt = stop"
    assert two.run(stop).ok
    assert two.run("%modal_gpu attach half").error.startswith("KeyboardInterrupt")
    assert two.run("facade.adopt = adopt").ok
    for refused in (two.remote("1", "--session half"), two.remote("items", "--session half")):
        assert "`%modal_gpu attach half`" in refused.error
    attach(two, "half")
    assert two.remote("items", "").value() == "[1]"


def test_a_kernel_that_finds_a_run_whose_container_died_has_what_was_saved(
    user: User, one: Kernel, two: Kernel
) -> None:
    begin(one, "died", "items = [1]", "--fetch 0", f"--env {IDLE_VARIABLE}=0.1")
    volumes = user.home / "data/modal_gpu_magic/volumes"
    wait_until(lambda: bool(list(volumes.glob("**/died/state/manifest"))))
    go = user.home / "go"
    one.send(
        f"%%modal_gpu\nimport os, time\nitems.append(2)\nwhile not os.path.exists({str(go)!r}): time.sleep(0.01)\nos._exit(3)"
    )
    wait_until(lambda: "running since" in str(two.run("%modal_gpu attach").bundles()))
    go.touch()
    user.ended(1, "died")
    attached = two.run("%modal_gpu attach died")
    assert attached.reply["ename"] == "ContainerLost"
    assert "from its Volume" in attached.said
    for _ in range(2):
        assert two.remote("items", "").value() == "[1]"


def test_values_that_a_kernel_read_from_the_volume_stay_in_the_session(user: User, one: Kernel, two: Kernel) -> None:
    begin(one, "volume", "items, count = [1], 5\ndef double(x):\n    return 2 * x", "--keep-warm 2s --fetch 0")
    user.ended(1, "volume")
    assert "from its Volume" in attach(two, "volume")
    for _ in range(2):
        assert two.remote("'a cell that reads none of these'", "--keep-warm 60s").ok
    attach(one, "volume")
    assert one.remote("items, double(count)", "").value() == "([1], 10)"


@pytest.mark.parametrize("is_saved", [True, False], ids=["saved since", "not saved since"])
def test_remote_values_outlive_the_container_of_an_attach(user: User, one: Kernel, two: Kernel, is_saved: bool) -> None:
    """No cell has run since the attach: only the objects that the kernel was given are newer than the saved state."""
    session, idle = f"given-{is_saved}", f"--env {IDLE_VARIABLE}=1000"
    save = f"{SESSION.format(session)}.app.save()"
    begin(one, session, "items = [1, 2]\nbox = {'items': items}\nimport os", "--fetch 0", idle)
    pid = int(one.remote("os.getpid()", "").value())
    assert one.run(save).value() == "{}"
    attach(two, session)
    if is_saved:
        assert two.run(save).value() == "{}"
    psutil.Process(pid).kill()
    user.ended(1, session)
    fetched = two.run("box.fetch()['items'] is items.fetch(), items.fetch()")
    if is_saved:
        assert fetched.value() == "(True, [1, 2])", fetched.traceback
    else:
        assert "the next remote cell restores what was saved" in fetched.error
    assert two.remote("items.append(3)\nbox['items'], box['items'] is items", "").value() == "([1, 2, 3], True)"
    assert two.run(f"%modal_gpu stop {session}").ok


TOLD = (
    "from modal_gpu_magic.sdk.app import OpenApp\ntold, keep = [], OpenApp.keep_warm\n"
    "OpenApp.keep_warm = lambda self, seconds: (told.append(seconds), keep(self, seconds))[1]"
)
"""Notes in a kernel which idle times Modal was told."""


def test_the_idle_time_is_what_the_last_kernel_has_set(one: Kernel, two: Kernel) -> None:
    begin(one, "idle-time", "x = 1")
    assert one.remote("x", "--keep-warm 30s").ok
    attach(two, "idle-time")
    assert two.print(f"{SESSION.format('idle-time')}.machine.scaledown") == "30"
    assert two.run(TOLD).ok
    assert two.remote("x", "--keep-warm 60s").value() == "1"
    assert two.run("OpenApp.keep_warm = keep\ntold").value() == "[60]"
    assert two.run("%modal_gpu stop idle-time").ok
