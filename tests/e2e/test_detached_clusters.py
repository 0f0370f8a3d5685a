"""A cluster of a detached session: its nodes keep nothing, and its runs outlive the kernel all the same."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.detached_user import User, row_of, wait_for, wait_until
from tests.e2e.kernel import Kernel, Result

pytestmark = pytest.mark.timeout(300)
TWO = "H100:8 --nodes 2 --detach --ranks all --session {}"
UNTIL = "import os, time\nwhile not os.path.exists({!r}):\n    time.sleep(0.02)\n"


@pytest.fixture(scope="module")
def kernel(user: User) -> Kernel:
    """The kernel that attaches."""
    return user.kernel()


def left_by(user: User, session: str, source: str) -> None:
    """Send a cell from a kernel that is killed once the logs of both nodes have the text `begins`.

    What a node has put out after that ends with the node if another one fails.
    """
    lone = user.kernel()
    lone.send(f"%%modal_gpu {TWO.format(session)}\n{source}")
    wait_for(lone, "begins")
    wait_until(lambda: sum(map(begins, logs(user, session))) == 2)
    user.kill(lone)


def logs(user: User, session: str) -> Iterator[Path]:
    """Yield the directories of the nodes' logs."""
    yield from user.home.glob(f"data/modal_gpu_magic/volumes/*-{session}.cluster/*/runs/*/*")


def begins(log: Path) -> bool:
    """Whether a log has the text `begins`."""
    for file in log.glob("0*"):
        with contextlib.suppress(FileNotFoundError):  # a longer file has replaced it
            if b"begins" in file.read_bytes():
                return True
    return False


def attach_and_end(kernel: Kernel, session: str, end: Path) -> Result:
    """Attach to a session whose cell waits for a file, which appears once the kernel has claimed the session."""
    patched = kernel.run(
        "from modal_gpu_magic.sdk.deployed import DeployedApp as App\n"
        "App.claim = claim = getattr(App, 'claim', App._claim)\n"
        f"App._claim = lambda *a: (claim(*a), open({str(end)!r}, 'w').close())[0]"
    )
    assert patched.ok, patched.traceback
    return kernel.run(f"%modal_gpu attach {session}")


def forget(kernel: Kernel, *names: str) -> None:
    """Remove names that another session has bound."""
    assert kernel.run(f"for name in {names!r}:\n    globals().pop(name, None)").ok


def test_a_run_goes_on_and_its_values_come_to_the_next_kernel(user: User, kernel: Kernel, tmp_path: Path) -> None:
    end = tmp_path / "end"
    source = (
        "import json, numpy as np\n"
        "given = np.ones(3)\nholder = {'given': given}\nstays = open('/dev/null')\n"
        f"print('begins', flush=True)\n{UNTIL.format(str(end))}print('ends')\n(holder['given'] is given, len(given))"
    )
    left_by(user, "goes-on", source)
    row = row_of("goes-on.cluster", kernel)
    assert "2 x H100:8" in row
    assert "running" in row
    attached = attach_and_end(kernel, "goes-on.cluster", end)
    assert attached.ok, attached.traceback
    lines = attached.stdout.splitlines()
    assert [line for line in lines if "rank 1" not in line] == ["begins", "ends"]
    assert [line for line in lines if "rank 1" in line] == [
        f"[rank 1] {each}" for each in ("begins", "ends", "(True, 3)")
    ]
    assert attached.value() == "(True, 3)"
    assert kernel.print("holder['given'] is given, given.sum(), json.dumps(1)") == "True 3.0 1"
    assert "ended with rank 0" in kernel.run("stays.name").error
    assert kernel.print("[each for each in ('end', 'time') if each in globals()]") == "['time']"
    forget(kernel, "holder", "given", "stays", "json", "np", "time")


def test_a_run_that_ended_while_nobody_was_attached_is_shown_whole(user: User, kernel: Kernel, tmp_path: Path) -> None:
    source = (
        "import os, modal\nnode = modal.Cluster.from_context().container_rank()\n"
        f"print('begins', flush=True)\nopen({str(tmp_path)!r} + '/' + str(node), 'w').write(str(os.getppid()))\n"
        "for number in range(200):\n    print('line', node, number)\n"
        "kept = [number]\ndel modal\nkept"
    )
    left_by(user, "ended", source)
    wait_until(lambda: sum((log / "end").exists() for log in logs(user, "ended")) == 2)
    wait_until(lambda: "idle" in (row := row_of("ended.cluster", kernel)) or "not running" in row)
    for node in ("0", "1"):
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(int((tmp_path / node).read_text())).kill()
    user.ended(2, "ended.cluster")
    assert kernel.run("kept = 'another'").ok
    attached = kernel.run("%modal_gpu attach ended.cluster")
    assert attached.ok, attached.traceback
    lines = attached.stdout.splitlines()
    assert [line for line in lines if line.startswith("line")] == [f"line 0 {number}" for number in range(200)]
    assert [line for line in lines if line.startswith("[rank 1] line")] == [
        f"[rank 1] line 1 {number}" for number in range(200)
    ]
    assert attached.value() == "[199]"
    assert "over values of this notebook: kept" in attached.said
    assert kernel.print("kept") == "[199]"
    forget(kernel, "kept", "node", "number")


@pytest.mark.parametrize("node", [0, 1])
def test_what_a_node_failed_with_is_raised(user: User, kernel: Kernel, node: int, tmp_path: Path) -> None:
    end = tmp_path / "end"
    source = (
        "import modal, time\nprint('begins', flush=True)\n"
        f"if modal.Cluster.from_context().container_rank() == {node}:\n"
        f"    import os\n    while not os.path.exists({str(end)!r}): time.sleep(0.02)\n    {{}}['missing']\ntime.sleep(120)"
    )
    session = f"fails-{node}"
    left_by(user, session, source)
    attached = attach_and_end(kernel, f"{session}.cluster", end)
    assert attached.error == "KeyError: 'missing'"
    assert attached.traceback.count("KeyError") == 2
    assert "modal_gpu_magic" not in attached.traceback
    again = kernel.run(f"%modal_gpu attach {session}.cluster")
    assert again.error == "KeyError: 'missing'", again.traceback
    assert again.stdout.count("begins") == 2


DEAF = (
    "from modal_gpu_magic.session.run.pump import Pump\n"
    "Pump.heard = heard = getattr(Pump, 'heard', Pump._frame)\n"
    "Pump._frame = {}"
)
"""What makes a kernel hear nothing of the queue: another reader, as of a kernel that has died, takes all events."""
SLEEPS = "import os, time\nbound = [1]\nprint('begins ' + os.environ['GROUP_RANK'], flush=True)\ntime.sleep(600)"
BOTH = ("begins 0", "[rank 1] begins 1")


def test_a_press_ends_all_nodes_of_a_run_although_only_the_log_brings_its_end(user: User, kernel: Kernel) -> None:
    left_by(user, "pressed", SLEEPS)
    assert kernel.run(DEAF.format("lambda *a: None")).ok
    attached = kernel.run("%modal_gpu attach pressed.cluster", press=[BOTH])
    assert attached.error == "KeyboardInterrupt: "
    assert kernel.print("bound") == "[1]"
    forget(kernel, "bound")
    sent = kernel.remote(SLEEPS, TWO.format("pressed"), press=["begins 0"])  # the log of node 0 alone is read
    assert "`%modal_gpu attach pressed.cluster` brings its values" in sent.error
    assert kernel.run("%modal_gpu attach pressed.cluster").error == "KeyboardInterrupt: "
    assert kernel.print("bound") == "[1]"
    assert kernel.run(DEAF.format("heard")).ok
    later = kernel.remote("done = 7\ndone", TWO.format("pressed"))
    assert later.value() == "7", later.traceback
    forget(kernel, "done", "bound")


def test_the_kernel_that_attached_last_has_the_cluster(user: User, kernel: Kernel) -> None:
    first = user.kernel()
    assert first.remote("x = [1]\nx", TWO.format("taken")).value() == "[1]"
    assert kernel.run("%modal_gpu attach taken.cluster").value() == "[1]"
    assert "is attached to" in first.remote("x", TWO.format("taken")).error
    assert kernel.remote("x.append(2)\nx", "H100:8 --nodes 2 --session taken").value() == "[1, 2]"
    assert kernel.print("x") == "[1, 2]"
    stopped = kernel.run("%modal_gpu stop taken.cluster")
    assert stopped.stdout == "taken.cluster: stopped\n"
    assert row_of("taken.cluster", kernel) == ""
    forget(kernel, "x")


def test_a_cluster_cell_of_a_detached_session_is_detached_and_the_session_goes_on(user: User, kernel: Kernel) -> None:
    assert kernel.run("%modal_gpu use H100 --session both --detach").ok
    assert kernel.remote("here = 1\nkept = open('/dev/null')", "").ok
    assert kernel.remote("wide = here + 1\nwide", "H100:8 --nodes 2").value() == "2"
    assert "H100:8" in row_of("both.cluster", kernel)
    assert kernel.remote("kept.name, wide", "").value() == "('/dev/null', 2)"
    for session in ("both", "both.cluster"):
        assert kernel.run(f"%modal_gpu stop {session}").ok


def test_a_background_cell_on_a_detached_cluster(user: User, kernel: Kernel) -> None:
    assert kernel.remote("found = [3]\nfound", f"{TWO.format('beside')} --bg run").ok
    assert kernel.print("run.result()") == "[3]"
    assert kernel.print("found") == "[3]"
    assert kernel.run("%modal_gpu stop beside.cluster").ok
