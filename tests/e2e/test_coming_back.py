"""Kernels that come back to a detached session: what the other kernel did is true here, and what is said of it too."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psutil
import pytest

from modal_gpu_magic.container.state.saved_session import IDLE_VARIABLE
from tests.e2e.detached_user import User
from tests.e2e.kernel import Kernel

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def user() -> Iterator[User]:
    with User() as user:
        yield user


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


def test_a_value_that_was_fetched_by_one_kernel_stays_in_the_session(one: Kernel, two: Kernel) -> None:
    begin(one, "fetched", "def double(x):\n    return 2 * x\nitems, count = [1, 2], 5", "--fetch 0")
    attach(two, "fetched")
    assert two.run("double, items, count = double.fetch(), items.fetch(), count.fetch()").ok
    assert two.remote("'a cell that reads none of these'", "").ok
    attach(one, "fetched")
    assert one.remote("double(count), items", "").value() == "(10, [1, 2])"
    assert one.run("double.fetch()(4), items.fetch()").value() == "(8, [1, 2])"


def test_a_value_that_was_fetched_and_changed_is_sent_when_a_cell_reads_it(one: Kernel, two: Kernel) -> None:
    begin(one, "changed", "items = [1, 2]\nboth = [items, items]", "--fetch 0")
    attach(two, "changed")
    assert two.run("items = items.fetch(); items.append(3)").ok
    assert two.remote("'a cell that reads none of these'", "").ok
    assert two.remote("items, both[0] is items, both", "").value() == "([1, 2, 3], True, [[1, 2, 3], [1, 2, 3]])"
    assert two.run("items = 7").ok
    assert two.remote("'none'", "").ok
    assert two.remote("items, both", "").value() == "(7, [[1, 2, 3], [1, 2, 3]])"


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
    pid = int(one.remote("import os\nos.getpid()", "").value())
    psutil.Process(pid).kill()
    user.ended(2, "older")
    said = " ".join(attach(two, "older").split())
    assert "from its Volume, as they were at" in said
    assert "(what later cells changed is lost): " in said
    assert two.remote("values", "").value() == "[1, 2]"
