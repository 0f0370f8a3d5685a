"""A detached session: kernels that stop, die and come back; every line once, the same values, the same bill."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.e2e.detached_user import User, Watched, detach, meter, row_of, wait_for, wait_until
from tests.e2e.kernel import Kernel

pytestmark = pytest.mark.timeout(300)
LATE = 4.0
"""Seconds by which two measurements of one time may differ on a busy machine."""
LINES = 800
TRAIN = f"""
import time, torch
torch.manual_seed(0)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
data = torch.randn(64, 4)
losses = []
for step in range({LINES}):
    loss = (model(data) - data.sum(1, keepdim=True)).pow(2).mean()
    optimizer.zero_grad(); loss.backward(); optimizer.step()
    losses.append(float(loss))
    print('step', step, flush=True)
    time.sleep(0.005)
len(losses)
"""
ENDED = "SessionEnded: The detached session {} was ended in another kernel; the next cell starts a new one."
EXPECTED = "".join(f"step {step}\n" for step in range(LINES))


PATIENT = "from modal_gpu_magic.session.run import kernel_end\nkernel_end.WAIT_SECONDS = 60.0"
"""Lets a kernel wait longer for the request to end that follows a press: on a slow machine it comes late."""


@pytest.fixture(scope="module")
def kernel(user: User) -> Kernel:
    """The kernel that most tests attach from."""
    return user.kernel()


@pytest.fixture(scope="module")
def other(user: User) -> Kernel:
    """Another kernel of the same user."""
    return user.kernel()


def test_a_run_goes_on_without_its_kernel_and_comes_whole_to_any_other(
    user: User, kernel: Kernel, other: Kernel
) -> None:
    first = user.kernel()
    detach(first, "train", "--keep-warm 60")
    assert first.remote("start = [1, 2]", "").ok
    first.run(f"import time; time.sleep({2 * LATE})")  # idle time that the first kernel alone has in the ledger
    first.send(f"%%modal_gpu\n{TRAIN}")
    wait_for(first, "step 100\n")
    user.kill(first)

    attached = kernel.run("%modal_gpu attach train")
    assert attached.ok, attached.traceback
    assert attached.stdout == EXPECTED
    assert attached.value() == str(LINES)
    assert f"{LINES}" == kernel.print("_")

    again = other.run("%modal_gpu attach train")
    assert again.ok, again.traceback
    assert again.stdout == EXPECTED
    assert again.value() == str(LINES)

    costs = [meter(each, "train", "cost") for each in (kernel, other)]
    assert costs[0] == pytest.approx(costs[1], abs=LATE * 3.9492 / 3600)
    for each in (kernel, other):
        assert each.print("losses[0] > losses[-1], type(start).__name__") == "True RemoteValue"
        assert each.print("optimizer.param_groups[0]['params'][0] is model.weight") == "True"
    assert kernel.print("losses, model.weight.tolist()") == other.print("losses, model.weight.tolist()")
    assert other.remote("start, len(losses), optimizer.param_groups[0]['params'][0] is model.weight", "").value() == (
        f"([1, 2], {LINES}, True)"
    )
    stopped = other.run("%modal_gpu stop train")
    assert "train: stopped; lost with it: start" in stopped.stdout
    (row,) = user.ended(1, "train")
    assert user.booked("train") == pytest.approx(row["seconds"], abs=LATE), "each second once in the ledger"
    assert meter(other, "train") == pytest.approx(row["seconds"], abs=LATE)
    assert user.volumes() == []


def test_kernels_that_have_a_session_by_turns_write_each_second_once(user: User, kernel: Kernel, other: Kernel) -> None:
    """The kernel that had it before counted the time of the other one as its own, or as less than nothing."""
    detach(kernel, "turns")
    assert kernel.remote("import time\ntime.sleep(2)", "").ok
    for each in (other, kernel, other):
        each.run("import time; time.sleep(2)")
        assert each.run("%modal_gpu attach turns").ok
        assert each.remote("time.sleep(2)", "").ok
    assert kernel.run("%modal_gpu stop turns").ok, "the one that does not have it"
    (row,) = user.ended(1, "turns")
    assert user.booked("turns") == pytest.approx(row["seconds"], rel=0.05, abs=1.0)


def test_an_error_is_raised_with_its_own_traceback_by_a_kernel_that_comes_later(
    user: User, kernel: Kernel, other: Kernel
) -> None:
    detach(other, "failing")
    assert other.run("def broken(x):\n    return 1 / x\n").ok
    defined = int(other.run("get_ipython().execution_count").value()) - 2
    other.send("%%modal_gpu --timeout 5m\nmade = [1]\nprint('before')\nbroken(0)")
    wait_for(other, "before")
    attached = kernel.run("%modal_gpu attach failing")
    assert attached.error == "ZeroDivisionError: division by zero"
    assert attached.stdout == "before\n"
    assert f"Cell In[{defined}], line 2, in broken(x)" in attached.traceback, "the number that the other kernel gave it"
    assert "return 1 / x" in attached.traceback
    assert kernel.print("made") == "[1]"
    assert "failed" in attached.said


def test_a_restart_and_a_shutdown_of_the_kernel_are_no_press(user: User, kernel: Kernel) -> None:
    """Jupyter interrupts a kernel before it restarts it or shuts it down: that is not the user's ■."""
    for session, end in (("renewed", Kernel.restart), ("closed", Kernel.shutdown)):
        first = user.kernel()
        detach(first, session)
        assert first.run(PATIENT).ok
        first.send(f"%%modal_gpu\n{TRAIN}")
        wait_for(first, "step 100\n")
        end(first)
        attached = kernel.run(f"%modal_gpu attach {session}")
        assert attached.ok, attached.traceback
        assert attached.stdout == EXPECTED
        assert attached.value() == str(LINES)


def test_stop_reaches_a_run_of_another_kernel(user: User, kernel: Kernel, other: Kernel, tmp_path: Path) -> None:
    detach(other, "stopped")
    far = tmp_path / "far"
    other.send(
        "%%modal_gpu\nimport time\nreached = 0\nprint('on its way')\nwhile True:\n    reached += 1\n    time.sleep(0.01)\n"
        f"    if reached == 20: open({str(far)!r}, 'w').close()"
    )
    wait_for(other, "on its way")
    attached = kernel.run("%modal_gpu attach stopped", press=[("on its way", far.exists, 0.5)])
    assert attached.error.startswith("KeyboardInterrupt")
    assert int(kernel.print("reached")) > 10
    assert kernel.remote("reached > 10", "").value() == "True"


def test_a_press_in_the_kernel_that_took_over_is_no_loss_of_the_container(
    user: User, kernel: Kernel, other: Kernel, tmp_path: Path
) -> None:
    """The first kernel hears that its call was cancelled before it looks at the registry, as it does every two seconds."""
    detach(other, "pressed")
    patch = (
        "from modal_gpu_magic.sdk.deployed import SentCall\nlook, SentCall._look = SentCall._look, lambda self: None"
    )
    assert other.run(patch).ok
    first = Watched(other, "%%modal_gpu\nimport time\nprint('begun')\ntime.sleep(100)", tmp_path / "end")
    wait_until(lambda: "running since" in row_of("pressed", kernel))
    attached = kernel.run("%modal_gpu attach pressed", press=["begun"])
    assert attached.error.startswith("KeyboardInterrupt")
    assert first.result.error.startswith("TakenOver: The session pressed is attached to")
    assert other.run("SentCall._look = look").ok


def test_the_second_kernel_takes_over_and_the_first_is_told(
    user: User, kernel: Kernel, other: Kernel, tmp_path: Path
) -> None:
    detach(other, "moving")
    first = Watched(other, f"%%modal_gpu\n{ticking(tmp_path / 'told')}", tmp_path / "told")
    wait_until(lambda: "running since" in row_of("moving", kernel))
    attached = kernel.run("%modal_gpu attach moving", timeout=150)
    assert attached.ok, attached.traceback
    assert attached.stdout == ticks(int(kernel.print("ticks")))
    assert "is attached to a kernel on" in first.result.error
    assert "%modal_gpu attach moving" in first.result.error
    refused = other.remote("ticks", "")
    assert "%modal_gpu attach moving" in refused.error
    back = other.run("%modal_gpu attach moving --from END")
    assert back.ok, back.traceback
    assert back.stdout == ""
    assert other.remote("ticks", "").value() == kernel.print("ticks")
    assert "is attached to" in kernel.remote("ticks", "").error


def test_a_long_log_is_read_fast_and_a_question_is_asked_where_somebody_is_attached(
    user: User, kernel: Kernel, other: Kernel
) -> None:
    lone = user.kernel()
    detach(lone, "long")
    lone.send(
        "%%modal_gpu\nfor number in range(100_000):\n    print('line', number)\nprint('asks')\n"
        "first = input('first? ')\nsecond = input('second? ')\nprint(first, second)"
    )
    wait_for(lone, "asks\n")
    user.kill(lone)
    assert kernel.run("%modal_gpu attach").ok  # connects
    attached = kernel.run("%modal_gpu attach long", answers=["one", "two"], timeout=200)
    assert attached.ok, attached.traceback
    assert attached.asked == ("first? ", "second? ")
    assert attached.stdout == "".join(f"line {number}\n" for number in range(100_000)) + "asks\none two\n"
    assert next(each.at for each in attached.messages if each.text.endswith("asks\n")) < 60
    again = other.run("%modal_gpu attach long --from END", answers=[])
    assert again.asked == ()
    assert (again.stdout, other.print("first, second")) == ("", "one two")


def test_everything_that_a_cell_can_do_comes_later_too(user: User, kernel: Kernel, other: Kernel) -> None:
    detach(other, "all")
    source = (
        "import matplotlib.pyplot as plt, sys\nfrom IPython.display import display, HTML\n"
        "plt.plot([1, 2])\nplt.show()\ndisplay(HTML('<b>bold</b>'))\nprint('err', file=sys.stderr)\n"
        "open('left.txt', 'w').write('kept')\n%timeit -n1 -r1 1\nclass Own:\n    pass\nown = Own()\nown"
    )
    first = other.remote(source, "")
    assert first.ok, first.traceback
    attached = kernel.run("%modal_gpu attach all")
    assert attached.ok, attached.traceback
    assert [sorted(each) for each in attached.bundles()] == [sorted(each) for each in first.bundles()]
    assert attached.stderr == first.stderr
    assert kernel.print("type(own) is Own") == "True"
    assert kernel.run("%modal_gpu get session:left.txt . --session all").ok
    assert kernel.print("open('left.txt').read()") == "kept"


def test_ranks_go_on_without_their_kernel(kernel: Kernel, other: Kernel) -> None:
    detach(other, "ranks")
    other.send(
        "%%modal_gpu H100:2 --torchrun 2\nimport os, time\nprint('rank', os.environ['RANK'])\ntime.sleep(2)\n"
        "size = int(os.environ['WORLD_SIZE'])\nprint('end')"
    )
    wait_for(other, "rank 0")
    attached = kernel.run("%modal_gpu attach ranks")
    assert attached.ok, attached.traceback
    assert attached.stdout == "rank 0\nend\n"
    assert kernel.print("size") == "2"


def test_the_money_is_bounded_by_the_container_itself(user: User, kernel: Kernel) -> None:
    """Nobody comes back: the cell reaches its timeout, the container idles for its time, and nothing runs any more."""
    lone = user.kernel()
    dry = lone.run("%%modal_gpu H100 --session bounded --detach --keep-warm 2s --timeout 3s --dry-run\n1")
    assert (
        "# keeps running without this notebook: at most $0.01 if nobody comes back (cell 3s, then idle 2s)"
        in dry.stdout
    )
    hour = lone.run("%%modal_gpu H100 --session bounded --detach --keep-warm 15m --timeout 1h --dry-run\n1")
    assert "at most $4.94 if nobody comes back (cell 1h, then idle 15m)" in hour.stdout
    detach(lone, "bounded", "--keep-warm 60s")
    said = lone.remote("1", "--timeout 30s").said
    assert (
        "Session bounded keeps running without this notebook; a cell costs at most $0.10 on Modal if nobody comes back"
        in said
    )
    assert said.count("if nobody comes back") == 2
    lone.send("%%modal_gpu --timeout 10s --keep-warm 2s\nimport time\nkept = [1, 2]\nprint('sleeps')\ntime.sleep(600)")
    wait_for(lone, "sleeps")
    user.kill(lone)
    (row,) = user.ended(1, "bounded")
    assert row["seconds"] < 200
    attached = kernel.run("%modal_gpu attach bounded")
    assert attached.error.startswith("CellTimeout: the cell reached its timeout of 10 s")
    assert attached.stdout == "sleeps\n"
    assert "The session's container has ended; from its Volume: kept" in attached.said
    assert kernel.print("kept") == "[1, 2]"
    assert len(user.containers("bounded")) == 1
    assert kernel.remote("kept.append(3)\nkept", "").value() == "[1, 2, 3]"
    assert len(user.containers("bounded")) == 2


def test_the_notebook_knows_its_session_when_it_is_opened_again(user: User, kernel: Kernel) -> None:
    lone = user.kernel("work/my notes.ipynb")
    first = lone.remote("print('kept')\n5", "H100 --detach")
    assert first.ok, first.error
    marks = [each.content["metadata"]["modal_gpu"] for each in first.notes]
    assert {each["session"] for each in marks if "session" in each} == {"my-notes"}
    assert all("run" in each for each in marks if "session" in each)
    assert lone.remote("print('second')\n5", "").value() == "5"
    wait_until(lambda: "second" in row_of("my-notes", kernel))  # the run is announced just after it was sent
    assert "my-notes:" in lone.run("%modal_gpu status").stdout
    user.kill(lone)
    reopened = user.kernel("work/my notes.ipynb", load=False)
    loaded = reopened.run("%load_ext modal_gpu_magic").stdout
    assert "`%modal_gpu attach my-notes` continues it" in " ".join(loaded.split())
    again = reopened.remote("5", "H100 --detach")
    assert "The detached session my-notes exists: `%modal_gpu attach my-notes` continues it here" in again.error
    reopened.run("%config ModalGpu.record = False")
    attached = reopened.run("%modal_gpu attach my-notes")
    assert attached.value() == "5"
    assert not any("session" in each.content["metadata"]["modal_gpu"] for each in attached.notes)
    assert reopened.run("%modal_gpu stop my-notes").ok


def test_a_session_that_is_ended_elsewhere_begins_anew_also_in_a_kernel_that_attached(
    user: User, kernel: Kernel, other: Kernel
) -> None:
    detach(kernel, "anew")
    assert kernel.remote("x = [1]\nlonely = [2]\nx", "--fetch 0").ok
    assert other.run("%modal_gpu attach anew").ok
    assert kernel.run("%modal_gpu stop anew").ok
    lost = other.run("lonely.fetch()")
    assert lost.error == ENDED.format("anew")
    again = other.remote("y = 3\ny", "")
    assert again.ok, again.error
    assert "The detached session anew was ended; a new one starts." in again.said
    assert other.remote("y + 1", "").value() == "4"
    assert kernel.run("%modal_gpu attach anew").ok
    assert kernel.print("y.fetch()") == "3"
    assert kernel.run("%modal_gpu stop anew").ok


def test_a_session_that_is_ended_elsewhere_begins_anew_after_its_idle_time(
    user: User, kernel: Kernel, other: Kernel
) -> None:
    """Each cell of its kernel said that the session was ended, and none began a new one."""
    detach(kernel, "idled", "--keep-warm 2")
    assert kernel.remote("x = [1]", "--fetch 0").ok
    user.ended(1, "idled")
    assert other.run("%modal_gpu stop idled").ok
    assert kernel.run("x.fetch()").error == ENDED.format("idled")
    again = kernel.remote("1", "")
    assert again.value() == "1"
    assert "The detached session idled was ended; a new one starts." in again.said
    assert "Lost with it: x" in again.said
    assert other.run("%modal_gpu stop idled").ok


def test_a_session_that_is_ended_after_its_kernel_was_killed_costs_no_more(user: User, kernel: Kernel) -> None:
    """The ledger let the run cost to its --timeout, and a budget of a day counted all that."""
    killed = user.kernel()
    detach(killed, "cut")
    killed.send("%%modal_gpu\nimport time\nprint('go')\ntime.sleep(600)")
    wait_for(killed, "go\n")
    wait_until(lambda: user.booked("cut") > 0)
    user.kill(killed)
    assert kernel.run("%modal_gpu stop cut").ok
    (row,) = user.ended(1, "cut")
    assert user.booked("cut") == pytest.approx(row["seconds"], rel=0.05, abs=2.0)
    assert max(each["until"] for each in user.records("cut")) < time.time() + 5


def test_status_and_stop_know_all_sessions_of_the_account(user: User, kernel: Kernel, other: Kernel) -> None:
    detach(other, "listed")
    assert other.remote("print('its last line')\nlonely = [1]", "--fetch 0").ok
    wait_until(lambda: "idle until" in row_of("listed", kernel))  # the end of a run is announced just after it
    row = row_of("listed", kernel)
    assert "H100" in row
    assert "its last line" in row
    assert "listed: H100 · local · detached" in kernel.run("%modal_gpu status").stdout
    assert "stop listed" in other.run("%modal_gpu stop").stdout
    kept = other.run("%modal_gpu stop listed", answers=["n"])
    assert (kept.asked, kept.stdout) == (("Stop listed, and lose lonely? [y/N] ",), "listed: not stopped\n")
    stopped = kernel.run("%modal_gpu stop listed")
    assert stopped.stdout == "listed: stopped\n"
    assert "No detached session is named 'listed'" in kernel.run("%modal_gpu attach listed").error
    ended = other.remote("lonely", "")
    assert not ended.ok
    assert "The detached session listed was ended" in ended.error + ended.said
    assert "listed" not in other.run("%modal_gpu stop").stdout, "it is gone"
    everything = kernel.run("%modal_gpu stop --all")
    assert everything.ok, everything.traceback
    assert kernel.run("%modal_gpu attach").stdout.startswith("No detached sessions.")
    assert user.volumes() == []
    assert {bool(row["ended_at"]) for row in user.ended(len(user.containers()))} == {True}


def test_a_background_cell_outlives_its_kernel_and_ends_here_when_another_takes_over(
    user: User, tmp_path: Path
) -> None:
    first, second, third = user.kernel(), user.kernel(), user.kernel()
    detach(first, "beside", "--keep-warm 60")
    assert first.remote(f"{lines(300)}\nleft = [1, 2]\n5", "--bg train").ok
    wait_for(first, "line 40\n")
    user.kill(first)
    attached = second.run("%modal_gpu attach beside")
    assert (attached.stdout, attached.value(), second.print("left")) == (printed(300), "5", "[1, 2]")
    assert second.remote(f"{ticking(tmp_path / 'told')}\nright = [3]\n6", "--bg again").ok
    wait_for(second, "tick 9\n")
    told = Watched(second, "again.result()", tmp_path / "told")
    taken = third.run("%modal_gpu attach beside", timeout=150)
    assert (taken.stdout, taken.value(), third.print("right")) == (ticks(int(third.print("ticks"))), "6", "[3]")
    for each in (told.result, second.remote("1", "")):
        assert each.error.startswith("TakenOver: The session beside is attached to")
    assert third.remote("left, right", "").value() == "([1, 2], [3])"
    assert third.run("%modal_gpu stop beside").ok


def lines(count: int) -> str:
    """A cell that prints so many lines, a hundred a second."""
    return f"import time\nfor number in range({count}):\n    print('line', number, flush=True)\n    time.sleep(0.01)"


def printed(count: int) -> str:
    """What the cell prints."""
    return "".join(f"line {number}\n" for number in range(count))


def ticking(end: Path) -> str:
    """A cell that prints until a file exists: its first kernel has been told by then."""
    return (
        f"import os, time\nticks = 0\nwhile not os.path.exists({str(end)!r}) and ticks < 2000:\n"
        "    ticks += 1\n    print('tick', ticks, flush=True)\n    time.sleep(0.05)"
    )


def ticks(count: int) -> str:
    """What the cell prints."""
    return "".join(f"tick {number}\n" for number in range(1, count + 1))
