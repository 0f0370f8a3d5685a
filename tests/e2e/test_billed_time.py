"""The session's meter beside the control plane's, which counts the container-seconds that Modal would bill."""

from __future__ import annotations

import functools
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.e2e.detached_user import wait_until
from tests.e2e.kernel import Kernel, Result
from tests.e2e.test_saved_state import SOON as SAVED_SOON
from tests.e2e.test_saved_state import Saved

pytestmark = pytest.mark.timeout(400)
PART: Final = 0.02
"""Largest difference between the two meters, as a part of the control plane's."""
EXIT: Final = 1.0
"""Seconds by which the end of a process, which the kernel does not wait for, may be off on a busy machine."""
TRIES: Final = 4
"""How often a test measures before a difference counts: what is wrong with a meter differs each time."""
SOON: Final = 60.0
SESSION: Final = "get_ipython().magics_manager.magics['cell']['modal_gpu'].__self__.state.sessions[{!r}]"


@dataclass(frozen=True, slots=True)
class Bill:
    """A kernel, and the file with its control plane's meter.

    Attributes:
        earlier: ids of the containers that ran before the test.
    """

    kernel: Kernel
    file: Path
    earlier: frozenset[str] = frozenset()

    def remote(self, source: str, header: str, **how: Any) -> Result:
        """Run a cell, which must end as it should."""
        result = self.kernel.remote(source, header, timeout=120, **how)
        assert result.ok, result.error
        return result

    def containers(self, *, count: int | None = None) -> list[dict[str, Any]]:
        """The control plane's containers, once all have ended, or once `count` of them have."""
        until = time.monotonic() + SOON
        while time.monotonic() < until:
            rows = [row for row in rows_of(self.file) if row["container"] not in self.earlier]
            ended = [row for row in rows if row["ended_at"]]
            if len(ended) == (len(rows) if count is None else count):
                return ended
            time.sleep(0.02)
        raise AssertionError(f"{rows} run on")

    def ours(self, what: str, session: str = "default") -> Any:
        """An attribute of the session's meter."""
        return json.loads(self.kernel.print(f"__import__('json').dumps({SESSION.format(session)}.status.meter.{what})"))

    def phases(self, session: str = "default") -> dict[str, float]:
        """The seconds of each phase of the last run."""
        pairs = f"[(each.phase, each.seconds) for each in {SESSION.format(session)}.status.meter.phases]"
        return dict(json.loads(self.kernel.print(f"__import__('json').dumps({pairs})")))

    def stop(self) -> None:
        """End the containers of all sessions."""
        assert self.kernel.run("%modal_gpu stop").ok

    def agrees(self, session: str = "default", *, count: int | None = None) -> float:
        """Compare the two meters; return the control plane's seconds."""
        theirs: float = sum(row["seconds"] for row in self.containers(count=count))
        near(self.ours("container_seconds", session), theirs, rel=PART, abs=EXIT)
        return theirs

    @classmethod
    def new(cls, kernel: Kernel, file: Path) -> Bill:
        """The bill of a kernel that is renewed, and of the containers from now on."""
        kernel.renew()
        cls(kernel, file).containers()
        return cls(kernel, file, frozenset(row["container"] for row in rows_of(file)))


class DiffersError(AssertionError):
    """Two measurements differ."""


def near(measured: float, expected: float, *, rel: float | None = None, abs: float | None = None) -> None:  # noqa: A002 - as approx
    """Compare two measurements.

    Raises:
        DiffersError: they differ.
    """
    if measured != pytest.approx(expected, rel=rel, abs=abs):
        raise DiffersError(f"{measured} is not {expected} ± {rel} of it or {abs}")


def above(measured: float, least: float) -> None:
    """Compare a measurement with a limit.

    Raises:
        DiffersError: it is less.
    """
    if measured <= least:
        raise DiffersError(f"{measured} is not above {least}")


def measured(test: Callable[..., None]) -> Callable[..., None]:
    """Repeat a test whose measurements differ: a process or a thread may have stood still meanwhile."""

    @functools.wraps(test)
    def tries(bill: Bill, **others: Any) -> None:
        for left in reversed(range(TRIES)):
            try:
                test(bill, **others)
            except DiffersError:
                if not left:
                    raise
            else:
                return
            bill = Bill.new(bill.kernel, bill.file)

    return tries


def rows_of(file: Path) -> list[dict[str, Any]]:
    """The containers in a meter's file; none before the first one."""
    rows: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []
    return rows


@pytest.fixture(scope="module")
def metered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bill]:
    """A kernel whose control plane keeps its meter in a file. The tests of the module share it."""
    file = tmp_path_factory.mktemp("meter") / "meter.json"
    with Kernel(env={"MODAL_GPU_METER": str(file)}) as kernel:
        kernel.load()
        yield Bill(kernel, file)


@pytest.fixture
def bill(metered: Bill) -> Bill:
    """The kernel without a name and without a session, and the containers of this test alone."""
    return Bill.new(metered.kernel, metered.file)


@measured
def test_a_plain_cell(bill: Bill) -> None:
    bill.remote("import time\ntime.sleep(6)", "H100")
    phases = bill.phases()
    near(bill.ours("standing.spent"), 3.9492 * bill.ours("container_seconds") / 3600, rel=0.1)
    bill.stop()
    near(bill.agrees(), sum(phases.values()) - phases.get("waiting", 0.0), abs=1.0)
    assert list(phases) == ["waiting", "starting", "restoring", "running", "saving"]
    near(phases["running"], 6.0, abs=EXIT)
    above(phases["starting"], 0)


@measured
def test_packages_on_a_warm_container(bill: Bill) -> None:
    bill.remote("1", "H100")
    bill.remote("import einops, time\ntime.sleep(4)", "H100 --pip einops==0.8.0")
    phases = bill.phases()
    bill.stop()
    bill.agrees()
    above(phases["installing"], 0.5)
    near(phases["running"], 4.0, abs=EXIT)


@measured
def test_ranks(bill: Bill) -> None:
    bill.remote("import time\ntime.sleep(3)", "H100:8 --torchrun 2")
    phases = bill.phases()
    bill.stop()
    bill.agrees()
    above(phases["starting ranks"], 1)
    near(phases["running"], 3.0, abs=1.5)


@measured
def test_values_that_are_packed_and_saved(bill: Bill) -> None:
    source = "import time\nclass Slow:\n    def __reduce__(self):\n        time.sleep(2)\n        return (list, ())\nheld = Slow()"
    bill.remote(source, "H100")
    saving = bill.phases()["saving"]
    bill.stop()
    bill.agrees()
    above(saving, 2)


@measured
def test_a_cluster_of_two_nodes(bill: Bill) -> None:
    bill.remote("import time\ntime.sleep(8)", "H100:8 --nodes 2")
    phases = bill.phases("default.cluster")
    cost = bill.ours("cost", "default.cluster")
    bill.stop()
    theirs = bill.agrees("default.cluster")
    assert len(bill.containers()) == 2
    near(cost, 2 * 8 * 3.9492 * sum(s for p, s in phases.items() if p != "waiting") / 3600, rel=PART)
    near(cost, 8 * 3.9492 * theirs / 3600, rel=0.15)


@measured
def test_a_stopped_cell(bill: Bill) -> None:
    source = "import time\ntime.sleep(6)\nprint('go')\ntime.sleep(600)"
    result = bill.kernel.remote(source, "H100", press=("go",), timeout=100)
    assert result.reply["ename"] == "KeyboardInterrupt"
    phases = bill.phases()
    assert list(phases) == ["waiting", "starting", "restoring", "running", "saving"]
    near(phases["running"], 6, abs=1.5)
    bill.stop()
    bill.agrees()


@measured
def test_a_cell_that_is_stopped_twice_is_counted_to_the_end_of_its_container(bill: Bill) -> None:
    """The first ■ cancels the call, and the time until the second one was in no figure."""
    source = "import time\nprint('go')\nwhile True:\n    try:\n        time.sleep(600)\n    except KeyboardInterrupt:\n        print('no')"
    result = bill.kernel.remote(source, "H100", press=("go", "no", 4), timeout=100)
    assert "its container was ended" in result.error
    (row,) = bill.containers(count=1)
    above(bill.ours("container_seconds"), row["seconds"] - 3 * EXIT)
    above(result.seconds + EXIT, bill.ours("container_seconds"))
    above(bill.phases()["running"], 3.5)


@measured
def test_a_cell_that_is_stopped_while_its_container_starts(bill: Bill) -> None:
    """The call is cancelled, and the container goes on to start, and idles: the receipt and the status said `ended`."""
    bill.remote("1", "H100 --session other")  # the App is there, so that the next cell waits for a container alone
    other = len(rows_of(bill.file))
    result = bill.kernel.remote(
        "import time\ntime.sleep(600)", "H100", press=(lambda: len(rows_of(bill.file)) > other,), timeout=100
    )
    assert result.reply["ename"] == "KeyboardInterrupt"
    until = time.monotonic() + SOON
    while len([row for row in rows_of(bill.file) if not row["ended_at"]]) < 1 and time.monotonic() < until:
        time.sleep(0.02)
    if "idle until" not in result.said:
        raise DiffersError("the prompt came back before the kernel had been told of the container")
    assert bill.ours("standing.doing") == "idle"
    assert "idle until" in bill.kernel.run("%modal_gpu status").stdout.split("default:")[1]
    bill.kernel.run("import time\ntime.sleep(4)")
    bill.stop()
    theirs = sum(row["seconds"] for row in bill.containers() if row["seconds"])
    mine = bill.ours("container_seconds") + bill.ours("container_seconds", "other")
    near(mine, theirs, rel=PART, abs=4 * EXIT)


SAYS_WHEN: Final = """
magics = get_ipython().magics_manager.magics["cell"]
magic = magics["modal_gpu"]
def says_when(line, cell):
    open({!r}, "w").close()
    return magic(line, cell)
magics["modal_gpu"] = says_when
"""
"""Makes a file once the magic has begun: ipykernel loses a request in whose dispatch a press comes."""


@measured
def test_a_cell_that_is_stopped_before_a_container_starts(bill: Bill) -> None:
    begun = bill.kernel.home / "begun"
    begun.unlink(missing_ok=True)
    assert bill.kernel.run(SAYS_WHEN.format(str(begun))).ok
    result = bill.kernel.remote("import time\ntime.sleep(600)", "H100 --session fresh", press=[(begun.exists, 0.05)])
    assert result.reply["ename"] == "KeyboardInterrupt"
    assert bill.kernel.run("magics['modal_gpu'] = magic").ok
    is_made = bill.kernel.print(f"'fresh' in {SESSION.partition('[{')[0]}") == "True"
    bill.stop()
    if is_made:
        bill.agrees("fresh")
    else:
        assert bill.containers() == []


@measured
def test_a_container_that_crashes(bill: Bill) -> None:
    result = bill.kernel.remote("import os, time\ntime.sleep(12)\nos.kill(os.getpid(), 9)", "H100", timeout=100)
    assert not result.ok
    theirs = sum(row["seconds"] for row in bill.containers(count=1))
    near(bill.ours("container_seconds"), theirs, rel=PART, abs=3 * EXIT)
    near(bill.phases()["running"], 12, abs=1.5)


@measured
def test_a_container_that_crashes_at_once(bill: Bill) -> None:
    result = bill.kernel.remote("import os\nos.kill(os.getpid(), 9)", "H100", timeout=100)
    assert not result.ok
    theirs = sum(row["seconds"] for row in bill.containers(count=1))
    near(bill.ours("container_seconds"), theirs, abs=3 * EXIT)


def hold(kernel: Kernel, free: Path) -> None:
    """Let a service use the machine's only GPU from now on, until a file exists."""
    works = free.with_name("works")
    source = (
        f"import os, time\ndef work():\n    open({str(works)!r}, 'w').close()\n"
        f"    while not os.path.exists({str(free)!r}): time.sleep(0.01)"
    )
    made = kernel.remote(source, "L4 --service worker", timeout=100)
    assert made.ok, made.error
    call = "import threading\nthreading.Thread(target=worker.work, daemon=True).start()"
    assert kernel.run(call).ok
    wait_until(works.exists)


DRIVER: Final = """#!/bin/sh
[ "$*" = -L ] && printf 'GPU 0: NVIDIA A (UUID: GPU-a)\\n'
[ "$*" = -L ] || exit 1
"""


def test_a_wait_for_a_gpu(tmp_path: Path) -> None:
    """On a machine whose nvidia-smi lists one GPU, which a service holds for seconds after the cell is seen to wait."""
    file, driver = tmp_path / "meter.json", tmp_path / "nvidia-smi"
    driver.write_text(DRIVER)
    driver.chmod(0o755)
    with Kernel(env={"MODAL_GPU_METER": str(file)}) as kernel:
        kernel.run(f"import os\nos.environ['PATH'] = {str(tmp_path)!r} + ':' + os.environ['PATH']")
        kernel.load()
        bill = Bill(kernel, file)
        kernel.run("%config ModalGpu.dashboard = False")
        free = tmp_path / "free"
        hold(kernel, free)
        later = threading.Timer(10, free.touch)
        bill.remote("import time\ntime.sleep(3)", "H100 --session own", when={"waiting for H100": later.start})
        phases = bill.phases("own")
        bill.stop()
        theirs = {row["gpu"]: row["seconds"] for row in bill.containers()}
        assert phases["waiting"] > 9
        near(bill.ours("container_seconds", "own"), theirs["H100"], abs=5)


@measured
def test_two_cells_with_an_idle_gap(bill: Bill) -> None:
    bill.remote("import time\ntime.sleep(4)", "H100")
    first = bill.ours("cost")
    bill.kernel.run("import time\ntime.sleep(4)")
    bill.remote("time.sleep(3)", "H100")
    second = bill.ours("cost")
    bill.stop()
    theirs = bill.agrees()
    above(3.9492 * (theirs - 3.5) / 3600, first + second)


@measured
def test_a_container_that_idles_to_its_end(bill: Bill) -> None:
    bill.remote("import time\ntime.sleep(6)", "H100 --keep-warm 3")
    theirs = sum(row["seconds"] for row in bill.containers(count=1))
    near(bill.ours("container_seconds"), theirs, rel=PART, abs=EXIT)
    assert bill.ours("standing.doing") == "ended"


@measured
def test_a_container_that_was_replaced(bill: Bill) -> None:
    """The second cell finds its container ended by somebody else, and starts another one.

    Nobody tells the kernel when the first one ended: it counts as idle until the second begins.
    """
    bill.remote("import os, time\npid = os.getpid()\ntime.sleep(3)", "H100")
    bill.kernel.run("import os\nos.kill(pid, 9)")
    bill.containers(count=1)
    bill.remote("import time\ntime.sleep(3)", "H100")
    phases = bill.phases()
    bill.stop()
    theirs = sum(row["seconds"] for row in bill.containers())
    near(bill.ours("container_seconds"), theirs, abs=1.5)
    above(phases["starting"], 0)


@measured
def test_a_container_that_goes_on_with_saved_values(bill: Bill) -> None:
    """Its time to restore 200 MB is billed, and in the receipt."""
    saved = Saved(bill.kernel, SAVED_SOON)
    saved.save("import numpy as np\nlarge = np.random.default_rng(0).random(25_000_000)\nfirst = float(large[0])")
    saved.kill()
    again = saved.run("float(large[0]) == first")
    assert again.value() == "True", again.said
    phases = bill.phases()
    assert "restored" in again.said
    above(phases["restoring"], 0.02)
    bill.stop()
    theirs = sum(row["seconds"] for row in bill.containers())
    near(bill.ours("container_seconds"), theirs, abs=1.5)


@measured
def test_a_service(bill: Bill) -> None:
    """Its functions' calls, its start and its idle time: estimated, since calls may run in many containers."""
    made = bill.kernel.remote("import time\ndef work(seconds): time.sleep(seconds)", "L4 --service worker", timeout=100)
    assert made.ok, made.error
    assert bill.kernel.run("import time\ntime.sleep(2)\nworker.work(8)\ntime.sleep(2)", timeout=60).ok
    bill.stop()
    theirs = sum(row["seconds"] for row in bill.containers())
    near(float(bill.kernel.print("worker.usage.seconds")), theirs, rel=PART, abs=EXIT)


@measured
def test_a_service_that_needs_several_containers(bill: Bill) -> None:
    """How many run is Modal's choice: calls alone do not say."""
    source = "import time\ndef work(seconds): time.sleep(seconds)"
    made = bill.kernel.remote(source, "L4 --service worker --max 3", timeout=100)
    assert made.ok, made.error
    assert bill.kernel.run("import time\nlist(worker.work.map([4] * 6))\ntime.sleep(2)", timeout=60).ok
    bill.stop()
    rows = bill.containers()
    assert len(rows) == 3
    theirs = sum(row["seconds"] for row in rows)
    near(float(bill.kernel.print("worker.usage.seconds")), theirs, rel=PART, abs=len(rows) * EXIT)
    assert bill.kernel.run("from modal_gpu_magic.session.costs.ledger import Ledger").ok
    booked = "sum(sum(each.phases.values()) for each in Ledger().read().records if each.kind == 'service')"
    above(float(bill.kernel.print(booked)), theirs - len(rows) * EXIT)


@measured
def test_the_live_figure_ends_with_the_receipt_s(bill: Bill) -> None:
    """A cluster, whose nodes are all billed: the dashboard and the receipt say one amount."""
    seen = (
        "from modal_gpu_magic.ui.widgets.dashboard import Dashboard\n"
        "figures, show = [], Dashboard.show\n"
        "def watched(self, **changes):\n"
        "    show(self, **changes)\n"
        "    figures.append((self.shown.cost, self.shown.hourly, self.shown.over))\n"
        "Dashboard.show = watched"
    )
    assert bill.kernel.run(seen).ok
    result = bill.remote("import time\ntime.sleep(3)", "H100:8 --nodes 2", answers=())
    bill.kernel.run("Dashboard.show = show")
    last = json.loads(bill.kernel.print("__import__('json').dumps(figures[-1])"))
    cost = bill.ours("cost", "default.cluster")
    assert last == pytest.approx([cost, 0.0, True])
    assert f"≈ ${cost:.2f} on Modal" in result.said


PREEMPTED: Final = """
import threading
import time
from pathlib import Path

place = Path({place!r})

def take_away():
    from modal_proto import api_pb2

    from modal._utils.async_utils import synchronizer
    from modal_gpu_magic.sdk.client import connect

    client = synchronizer._translate_in(connect("local").client)
    while not place.exists():
        time.sleep(0.1)
    request = api_pb2.ContainerStopRequest(task_id=place.read_text())

    async def ask():
        await client._stub.ContainerStop(request)

    synchronizer.create_blocking(ask)()

threading.Thread(target=take_away, daemon=True).start()
"""
"""`modal container stop` from beside the cell, as Modal does it at a preemption."""


@measured
def test_a_container_that_is_replaced_in_mid_run(bill: Bill, tmp_path: Path) -> None:
    """The first one counts until the second begins: nobody says when it ended."""
    place = str(tmp_path / "task")
    Path(place).unlink(missing_ok=True)
    assert bill.kernel.run(PREEMPTED.format(place=place)).ok
    source = (
        "import os, time\n"
        "time.sleep(4)\n"
        f"if not os.path.exists({place!r}):\n"
        f"    open({place + '~'!r}, 'w').write(os.environ['MODAL_TASK_ID'])\n"
        f"    os.rename({place + '~'!r}, {place!r})\n"
        "    time.sleep(60)\n"
        "time.sleep(4)"
    )
    bill.remote(source, "H100")
    phases, cost = bill.phases(), bill.ours("cost")
    bill.stop()
    assert len(bill.containers()) == 2
    theirs = sum(row["seconds"] for row in bill.containers())
    near(bill.ours("container_seconds"), theirs, abs=2 * EXIT)
    near(cost, 3.9492 * theirs / 3600, abs=2 * EXIT * 3.9492 / 3600)
    above(phases["running"], 11)
