"""The sampler against a scripted nvidia-smi: what it prints is told, and whatever it does holds nobody up."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from modal_gpu_magic.container.gpu import sampler
from modal_gpu_magic.metrics.processes import GpuProcess
from modal_gpu_magic.metrics.sample import OLD_QUERY, QUERY, SHORT_QUERY, parse
from tests.container.smi_double import Heard, Smi, eventually, row

CAPTURES = Path(__file__).parents[2] / "metrics" / "nvidia_smi"


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Smi:
    """The scripted program, on the PATH."""
    double = Smi(tmp_path / "smi")
    monkeypatch.setenv("PATH", double.path)
    return double


def test_every_reading_is_told_and_kept(smi: Smi) -> None:
    smi.says("full", row(0, "10") + row(1, "20") + row(0, "30") + row(1, "40"))
    heard = Heard()
    heard.sampler.begin(2)
    eventually(lambda: heard.over)
    assert heard.loads == [10, 20, 30, 40]
    assert [reading for reading, _ in heard.told] == list(heard.sampler.readings)
    (asked,) = smi.asked
    assert asked == f"--query-gpu={','.join(QUERY)} --format=csv,noheader,nounits -lms 1000"


def test_an_old_driver_gets_the_short_query(smi: Smi) -> None:
    smi.says("short", "0, GPU-0, 77, 5, 15360, Tesla T4\n")
    heard = Heard(0.25)
    heard.sampler.begin(1)
    eventually(lambda: heard.over)
    assert heard.loads == [77]
    assert [line.split()[0] for line in smi.asked] == [
        f"--query-gpu={','.join(q)}" for q in (QUERY, OLD_QUERY, SHORT_QUERY)
    ]
    assert smi.asked[2].endswith("-lms 250")


def test_where_there_is_none_nothing_comes_and_it_is_not_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    heard = Heard()
    heard.sampler.begin()
    eventually(lambda: heard.over)
    first = heard.sampler._thread
    heard.sampler.begin()
    assert heard.sampler._thread is first
    assert not heard.told


def test_one_that_has_nothing_to_say_is_asked_each_query_once_and_no_more(smi: Smi) -> None:
    smi.says("full", "No devices were found\n")
    smi.says("short", "Failed to initialize NVML: Driver/library version mismatch\n")
    heard = Heard()
    for _ in range(3):
        heard.sampler.begin()
        eventually(lambda: heard.over)
    assert len(smi.asked) == 3


def test_a_wedged_one_holds_nobody_up(smi: Smi) -> None:
    live = smi.live()
    heard = Heard()
    heard.sampler.begin()
    eventually(lambda: smi.asked)
    heard.sampler.begin()
    assert not heard.over
    assert not heard.told
    heard.sampler.close()
    live.close()


def test_readings_know_whether_the_cell_ran(smi: Smi) -> None:
    live = smi.live()
    heard = Heard()
    heard.sampler.begin(1)
    for count, step in enumerate((None, heard.sampler.starts, None, heard.sampler.ends), 1):
        if step is not None:
            step(time.time())
        live.write(row())
        eventually(lambda count=count: len(heard.told) == count)  # type: ignore[misc]  # the loop's own
    live.close()
    assert [running for _, running in heard.told] == [False, True, True, False]


def test_readings_that_had_to_wait_have_their_own_times(smi: Smi) -> None:
    """Native code held the interpreter: three ticks come at once."""
    smi.says("full", row(load="1") + row(load="2") + row(load="3"))
    heard = Heard(2.0)
    heard.sampler.begin(1)
    eventually(lambda: heard.over)
    times = [reading.time for reading, _ in heard.told]
    assert [round(times[i + 1] - times[i], 3) for i in (0, 1)] == [2.0, 2.0]
    assert times[-1] <= time.time()


@pytest.mark.parametrize("capture", sorted(CAPTURES.glob("*.csv")), ids=lambda path: path.stem[:3])
def test_whatever_it_prints(smi: Smi, capture: Path) -> None:
    """Every odd text that was ever seen: the same samples as from the whole text, and no thread dies of it."""
    text = capture.read_text().rstrip("\n") + "\n"
    smi.says("full", text)
    smi.says("short", text)
    heard = Heard()
    heard.sampler.begin()
    eventually(lambda: heard.over)
    told = [sample for reading in heard.sampler.readings for sample in reading.samples]
    whole = parse(text) or parse(text, SHORT_QUERY)
    assert [replace(sample, time=0) for sample in told] == [replace(sample, time=0) for sample in whole]


def test_the_processes_of_the_gpus_come_with_the_next_reading(smi: Smi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "PROCESSES_SECONDS", 600.0)  # they count as listed for some such periods
    live, processes = smi.live(), smi.live("processes")
    heard = Heard()
    heard.sampler.begin(1)
    live.write(row())
    eventually(lambda: smi.listed and heard.told)
    (asked,) = smi.listed
    assert (
        asked == "--query-compute-apps=gpu_uuid,pid,used_memory,process_name --format=csv,noheader,nounits -lms 600000"
    )
    processes.write("GPU-0, 4711, 2048, /usr/bin/python3\nGPU-0, 7, [N/A], [Not Found]\nGPU-0, 8, 12")
    eventually(lambda: heard.sampler._processes.at(time.monotonic()))
    live.write(row())
    eventually(lambda: len(heard.told) == 2)
    assert [reading.processes for reading, _ in heard.told] == [
        (),
        (GpuProcess("GPU-0", 4711, 2048.0, "/usr/bin/python3"), GpuProcess("GPU-0", 7)),
    ]
    for pipe in (live, processes):
        pipe.close()


def test_an_nvidia_smi_that_lists_no_processes_is_asked_for_them_once(
    smi: Smi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler, "PROCESSES_SECONDS", 600.0)  # one that ends earlier lists none
    live = smi.live()
    heard = Heard()
    heard.sampler.begin(1)
    for count in range(1, 4):
        live.write(row())
        eventually(lambda count=count: len(heard.told) == count)  # type: ignore[misc]  # the loop's own
        eventually(lambda: not heard.sampler._lists_processes)
    assert len(smi.listed) == 1
    live.close()


def test_simulated_gpus_have_no_processes_and_the_container_has_its_own_figures(smi: Smi) -> None:
    live = smi.live()
    heard = Heard()
    heard.sampler.begin(1)
    for count in range(1, 3):
        live.write(row().replace("580.95.05", "simulated"))
        eventually(lambda count=count: len(heard.told) == count)  # type: ignore[misc]  # the loop's own
    assert heard.told[-1][0].processes == ()
    host = heard.told[-1][0].host
    assert host is not None
    assert host.memory_used_mib is not None
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    assert abs(host.memory_used_mib - sum(map(resident, family)) / 2**20) < 200
    assert host.cpu is not None
    live.close()


def resident(process: psutil.Process) -> int:
    """The resident bytes of a process; 0: it has ended."""
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def test_a_container_without_gpus_reads_its_own_figures_until_it_is_closed(smi: Smi) -> None:
    heard = Heard(0.02)
    heard.sampler.begin_without_gpus()
    first = heard.sampler._thread
    heard.sampler.begin_without_gpus()
    assert heard.sampler._thread is first
    heard.sampler.starts(time.time())
    told = len(heard.told)
    eventually(lambda: len(heard.told) > told + 2)  # the last of these was read after the cell's start
    reading, is_running = heard.told[-1]
    assert is_running
    assert (reading.samples, reading.node) == ((), 0)
    assert abs(reading.time - time.time()) < 60
    assert reading.host is not None
    assert not smi.asked
    heard.sampler.close()
    eventually(lambda: heard.over)


class Machine(RuleBasedStateMachine):
    """nvidia-smi writes in pieces cut anywhere, dies and is started again; every whole row is told once, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = os.environ["PATH"]
        self.smi = Smi(Path(self.folder.name) / "smi")
        os.environ["PATH"] = self.smi.path
        self.heard = Heard()
        self.live, self.starts = self.smi.live(), 0
        self.text = self.rest = ""
        self.said: list[str] = []
        self.cell()

    @rule(load=st.integers(0, 100))
    def tick(self, load: int) -> None:
        self.rest += row(load=str(load))

    @precondition(lambda self: self.rest)
    @rule(data=st.data())
    def piece(self, data: st.DataObject) -> None:
        cut = data.draw(st.integers(1, len(self.rest)))
        self.live.write(self.rest[:cut])
        self.text, self.rest = self.text + self.rest[:cut], self.rest[cut:]

    @rule()
    def cell(self) -> None:
        """A cell begins: nvidia-smi is started where it does not run."""
        self.heard.sampler.begin(1)
        eventually(lambda: len(self.smi.asked) > self.starts or not self.heard.over)

    @precondition(lambda self: "\n" in self.text)
    @rule()
    def dies(self) -> None:
        """A cell killed it; what it had written by halves is lost."""
        self.all_is_told()
        self.said += self.text.split("\n")[:-1]
        self.live.close()
        eventually(lambda: self.heard.over)
        self.text = self.rest = ""
        (self.smi.folder / "full").unlink()
        self.live, self.starts = self.smi.live(), len(self.smi.asked)
        self.cell()

    @invariant()
    def all_is_told(self) -> None:
        rows = [*self.said, *self.text.split("\n")[:-1]]
        loads = [float(line.split(", ")[2]) for line in rows]
        eventually(lambda: len(self.heard.loads) >= len(loads))
        assert self.heard.loads == loads

    def teardown(self) -> None:
        self.heard.sampler.close()
        self.live.close()
        eventually(lambda: self.heard.over)
        os.environ["PATH"] = self.path
        self.folder.cleanup()


TestAnyPieces = Machine.TestCase
TestAnyPieces.settings = settings(max_examples=8, stateful_step_count=20, deadline=None)

CONTAINER = """
import os, time
from tests.container.smi_double import Heard
heard = Heard()
heard.sampler.begin(1)
while not heard.told: time.sleep(0.01)
try:
    os.wait()
except ChildProcessError:
    print("no child", flush=True)
time.sleep(60)
"""


@pytest.fixture
def container(smi: Smi) -> Iterator[subprocess.Popen[str]]:
    """A process with a sampler whose nvidia-smi speaks for ever."""
    program = smi.folder / "bin" / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nwhile printf '%s\\n' '{row().strip()}'; do sleep 0.05; done\n")
    root = str(Path(__file__).parents[3])
    environ = {**os.environ, "PYTHONPATH": root, "SAMPLER_TEST": str(smi.folder)}
    with subprocess.Popen([sys.executable, "-c", CONTAINER], env=environ, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def started_by(mark: str) -> list[int]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.environ().get("SAMPLER_TEST") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
    return found


def test_a_cell_that_waits_for_all_its_children_does_not_wait_for_nvidia_smi(container: subprocess.Popen[str]) -> None:
    assert container.stdout is not None
    assert container.stdout.readline() == "no child\n"


def test_nvidia_smi_ends_with_its_container(container: subprocess.Popen[str], smi: Smi) -> None:
    assert container.stdout is not None
    container.stdout.readline()
    assert set(started_by(str(smi.folder))) - {container.pid}
    container.send_signal(signal.SIGKILL)
    container.wait()
    eventually(lambda: not started_by(str(smi.folder)))
