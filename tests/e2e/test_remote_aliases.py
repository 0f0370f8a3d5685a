"""A remote value stays the value that it is, whatever its name is bound to later, in a real kernel."""

from __future__ import annotations

import psutil
import pytest

from modal_gpu_magic.container.state.saved_session import IDLE_VARIABLE
from tests.e2e.detached_user import SESSION
from tests.e2e.kernel import Kernel, Result


def far(kernel: Kernel, source: str, options: str = "") -> Result:
    """Run a remote cell from which nothing returns."""
    return kernel.remote(source, f"--fetch 0 {options}")


@pytest.fixture(scope="module", autouse=True)
def _session(kernel: Kernel) -> None:
    assert far(kernel, "1", f"T4 --env {IDLE_VARIABLE}=1000").ok


def test_a_name_that_is_bound_again_takes_nothing_from_another_one(kernel: Kernel) -> None:
    assert far(kernel, "d = [1]").ok
    assert kernel.run("e, box = d, [d]").ok
    assert far(kernel, "d = [2]").ok
    assert kernel.run("e.fetch(), box[0].fetch(), d.fetch()").value() == "([1], [1], [2])"
    assert far(kernel, "e.append(3); print(e is box[0], e is d, e, d)").stdout == "True False [1, 3] [2]\n"
    assert kernel.run("d = 7").ok
    assert far(kernel, "print(d, e)").stdout == "7 [1, 3]\n"
    assert kernel.run("e").value().startswith("<remote list of 2 ")


def test_an_output_of_the_notebook_is_another_name(kernel: Kernel) -> None:
    assert far(kernel, "kept = [1]").ok
    assert kernel.run("kept").value().startswith("<remote list of 1 ")
    assert far(kernel, "kept = [2]").ok
    assert kernel.run("Out[max(Out)].fetch()").value() == "[1]"


def test_two_names_of_one_object_are_one_remote_value(kernel: Kernel) -> None:
    assert far(kernel, "left = [1]; right = left; equal = [1]").ok
    assert far(kernel, "third = right\nleft").ok
    assert kernel.run("left is right is third is Out[max(Out)], left is equal").value() == "(True, False)"
    assert far(kernel, "left.append(2); left = [3]").ok
    assert kernel.run("right is third, left is right").value() == "(True, False)"
    assert kernel.run("right.fetch(), left.fetch(), Out[min(n for n in Out if Out[n] is third)].fetch()").value() == (
        "([1, 2], [3], [1, 2])"
    )


def test_the_last_results_are_those_of_the_notebook(kernel: Kernel) -> None:
    assert far(kernel, "shown = [1]").ok
    assert kernel.run("shown").ok
    assert far(kernel, "shown = [2]; print(_)").stdout == "[1]\n"
    assert far(kernel, "[5] * 3").ok
    assert kernel.run("7").ok
    assert far(kernel, "print(_, __)").stdout == "7 [5, 5, 5]\n"
    assert kernel.run("__.fetch()").value() == "[5, 5, 5]"


def test_a_deleted_name_leaves_the_other_one(kernel: Kernel) -> None:
    assert far(kernel, "gone = [1]").ok
    assert kernel.run("stays = [gone]").ok
    assert far(kernel, "del gone").ok
    assert kernel.run("stays[0].fetch()").value() == "[1]"
    assert far(kernel, "print(stays)").stdout == "[[1]]\n"


def test_a_deletion_of_a_name_that_nobody_has_fails_as_natively(kernel: Kernel) -> None:
    assert far(kernel, "del nobody").reply["ename"] == "NameError"
    assert kernel.run("somebody = 1").ok
    assert far(kernel, "del somebody").ok
    assert kernel.run("somebody").reply["ename"] == "NameError"


def test_the_values_survive_their_container(kernel: Kernel) -> None:
    saved = f"{SESSION.format('default')}.app.save()"
    pid = int(far(kernel, "import os\nfirst = [1]\nprint(os.getpid())").stdout)
    assert kernel.run("other = first").ok
    assert far(kernel, "first = [2]").ok
    assert kernel.run(saved).value() == "{}"
    psutil.Process(pid).kill()
    assert far(kernel, "other.append(3); print(first, other)").stdout == "[2] [1, 3]\n"
    assert kernel.run("other.fetch(), first.fetch()").value() == "([1, 3], [2])"


def test_a_value_that_was_not_saved_is_lost_and_shown_as_lost(kernel: Kernel) -> None:
    saved = f"{SESSION.format('default')}.app.save()"
    pid = int(far(kernel, "import os\nfirst = [1]\nprint(os.getpid())").stdout)
    assert kernel.run("other = first").ok
    assert kernel.run(saved).value() == "{}"
    assert far(kernel, "first = [2]; other.append(3)").ok
    psutil.Process(pid).kill()
    assert far(kernel, "print('again')").stdout == "again\n"
    failed = kernel.run("other.fetch()")
    assert failed.reply["ename"] == "LostValueError"
    assert kernel.run("other").value().startswith("<lost list of ")
    assert far(kernel, "other").reply["ename"] == "LostValueError"
    refused = far(kernel, "box = [other]\nprint(box)")
    assert not refused.ok


def test_a_background_cell_reads_what_was_bound_when_it_was_sent(kernel: Kernel) -> None:
    assert far(kernel, "d = [1]").ok
    assert kernel.run("e = d").ok
    assert far(kernel, "import time\ntime.sleep(0.5)\nd = [2]", "--bg one").ok
    assert far(kernel, "seen = [list(e), list(d)]", "--bg two --out seen").ok
    assert kernel.run("two.result()\nseen").value() == "[[1], [2]]"
    assert kernel.run("e.fetch(), d.fetch()").value() == "([1], [2])"


def test_a_queued_cell_reads_what_was_bound_when_it_was_queued(kernel: Kernel) -> None:
    go = kernel.home / "go"
    wait = f"import os, time\nwhile not os.path.exists({str(go)!r}):\n    time.sleep(0.01)"
    assert far(kernel, "d, g = [1], [1]").ok
    assert kernel.run("e = d").ok
    assert far(kernel, f"{wait}\ng.append(2); f = [3]", "--bg holds").ok
    assert far(kernel, "told = [list(d), list(e), list(g), list(f)]", "--bg queued --out told").ok
    assert kernel.run("d = 5; e = 6").ok
    go.touch()
    assert kernel.run("queued.result()\ntold, d, e").value() == "([[1], [1], [1, 2], [3]], 5, 6)"


def test_a_clean_cell_leaves_no_value(kernel: Kernel) -> None:
    assert far(kernel, "d = [1]").ok
    assert kernel.run("e = d").ok
    assert far(kernel, "d = [2]", "--clean").ok
    assert "a later cell began without values (--clean)" in kernel.run("e.fetch()").error
    assert kernel.run("d.fetch()").value() == "[2]"


def test_the_end_of_the_session_is_shown_by_each_name(kernel: Kernel) -> None:
    assert far(kernel, "d = [1]").ok
    assert kernel.run("e = d").ok
    stopped = kernel.run("%modal_gpu stop").stdout
    assert stopped.startswith("default: stopped; lost with it: ")
    assert {"d", "e"} <= set(stopped.removeprefix("default: stopped; lost with it: ").strip().split(", "))
    assert kernel.run("d = 7").ok
    assert far(kernel, "print(d)", "T4").stdout == "7\n"
    assert kernel.run("e").value().splitlines()[0].startswith("<lost list of 1 · session default · its container has")
    for failed in (kernel.run("e.fetch()"), far(kernel, "e")):
        assert failed.reply["ename"] == "LostValueError"
        assert "its container has ended; run the cell that made it again" in failed.error


def test_a_value_with_one_name_is_not_held(kernel: Kernel) -> None:
    """What a container holds costs its memory: a cell that binds the name again must free the old value."""
    holds = f"print({SESSION.format('default')}.values.stand_ins.hold())"
    released = f"print({SESSION.format('default')}.values.stand_ins.released())"
    assert far(kernel, "model = [1]").ok
    assert kernel.run("len(str([model])), {'m': model} and None, isinstance(model, int)").ok
    assert far(kernel, "model = [2]").ok
    assert far(kernel, "model.append(1)", "--bg grows").ok
    assert kernel.run("grows.result()").ok
    assert kernel.run("model.shape").reply["ename"] == "RemoteAttributeError"
    assert kernel.run("model + 1").reply["ename"] == "RemoteValueError"
    assert kernel.run("1 + model").reply["ename"] == "RemoteValueError"
    names = kernel.run(holds).stdout
    assert "model" not in names, names
    assert kernel.run("other = model").ok
    assert "model" in kernel.run(holds).stdout
    assert far(kernel, "model = [3]").ok
    assert kernel.run("del other").ok
    assert kernel.run(released).stdout != "()\n"
    assert far(kernel, "model").ok
    assert kernel.run(released).stdout == "()\n"
