"""The simulated nvidia-smi as a program: its answers, its errors, and that its load is measured."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from modal_gpu_magic.control_plane.containers import smi_program
from tests.control_plane.plane import eventually

H100, MIB = "NVIDIA H100 80GB HBM3", 81559


@pytest.fixture(scope="module")
def leader() -> Iterator[subprocess.Popen[bytes]]:
    """The process that leads a container; it does nothing."""
    process = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    yield process
    process.communicate(b"\n")


@pytest.fixture(scope="module")
def listing(leader: subprocess.Popen[bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two H100s of that container."""
    path = tmp_path_factory.mktemp("smi") / "gpus"
    path.write_text(f"{leader.pid} ta-000001abcdef12\n" + f"{H100}\t{MIB}\n" * 2)
    return path


def smi(listing: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", smi_program.__file__, str(listing), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=20)


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["-L"], [rf"GPU 0: {H100} \(UUID: GPU-[0-9a-f-]{{36}}\)", rf"GPU 1: {H100} \(UUID: GPU-[0-9a-f-]{{36}}\)"]),
        (
            ["--query-gpu=index,name,memory.total", "--format=csv"],
            [r"index, name, memory.total \[MiB\]", f"0, {H100}, {MIB} MiB", f"1, {H100}, {MIB} MiB"],
        ),
        (["--query-gpu=index,memory.total", "--format=csv,noheader,nounits"], [f"0, {MIB}", f"1, {MIB}"]),
        (
            ["--query-gpu", "gpu_name,clocks.gr", "--format", "csv, nounits", "-i", "1"],
            [r"name, clocks.current.graphics \[MHz\]", rf"{H100}, \[N/A\]"],
        ),
        (
            ["--query-gpu=utilization.gpu,power.draw,driver_version,count", "--format=csv,noheader", "--id=0"],
            [r"\d+ %, \[N/A\], simulated, 1"],
        ),
        (
            ["--query-gpu=timestamp,pstate,mig.mode.current", "--format=csv,noheader", "-i", "0"],
            [r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{3}, \[N/A\], \[N/A\]"],
        ),
    ],
)
def test_queries(listing: Path, arguments: list[str], lines: list[str]) -> None:
    done = smi(listing, *arguments)
    assert done.returncode == 0
    answered = done.stdout.splitlines()
    assert len(answered) == len(lines)
    for pattern, line in zip(lines, answered, strict=True):
        assert re.fullmatch(pattern, line), line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--query-gpu=index,bogus", "--format=csv"], 'Field "bogus" is not a valid field to query.'),
        (["--query-gpu=index"], "--format="),
        (["--query-gpu=index", "--format=xml"], "--format="),
        (["topo", "-m"], "topo"),
        (["-l", "often"], "often"),
        (["-i", "7"], "No devices were found"),
        (["--query-gpu"], "--query-gpu"),
    ],
)
def test_what_it_cannot_answer(listing: Path, arguments: list[str], words: str) -> None:
    done = smi(listing, *arguments)
    assert done.returncode == 2
    assert words in done.stdout


def test_the_table_says_that_it_is_simulated(listing: Path) -> None:
    table = smi(listing).stdout
    assert table.count("imulated") >= 3
    assert table.count(H100) == 2
    assert len({len(line) for line in table.splitlines()[1:]}) == 1, "all lines of the frame are as long"


def test_every_field_of_the_full_query_is_known(listing: Path) -> None:
    fields = (
        "index,uuid,name,utilization.gpu,utilization.memory,memory.used,memory.total,power.draw,power.limit,temperature.gpu,"
        "clocks.sm,clocks.max.sm,pstate,pcie.link.gen.current,pcie.link.width.current,mig.mode.current,driver_version"
    )
    done = smi(listing, f"--query-gpu={fields}", "--format=csv,noheader,nounits", "-i", "0")
    assert (done.returncode, len(done.stdout.split(","))) == (0, 17)


def test_a_loop_goes_on_until_it_is_ended(listing: Path) -> None:
    arguments = ["--query-gpu=index", "--format=csv", "-lms", "50", "-i", "0"]
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", smi_program.__file__, str(listing), *arguments], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(4)] == ["index\n", "0\n", "0\n", "0\n"]
        process.terminate()


def test_load_and_memory_are_those_of_the_family(tmp_path: Path) -> None:
    """A child that left the group counts, too: torchrun's workers do."""
    burn = "import subprocess,sys\nx = bytearray(200 << 20)\nprint(1, flush=True)\nwhile True: pass"
    spawn = f"import subprocess,sys\nsubprocess.run([sys.executable,'-S','-c',{burn!r}], start_new_session=True)"
    leader = subprocess.Popen([sys.executable, "-S", "-c", spawn], stdout=subprocess.PIPE, start_new_session=True)
    assert leader.stdout is not None
    leader.stdout.readline()
    listing = tmp_path / "gpus"
    listing.write_text(f"{leader.pid} ta-1\n{H100}\t{MIB}\n")
    (child,) = psutil.Process(leader.pid).children()
    began = time.monotonic()
    sampler = smi_program.Sampler(str(listing))
    before = child.cpu_times().user
    eventually(lambda: child.cpu_times().user > before + 0.5)
    (gpu,) = sampler.read()
    share = 0.5 / (time.monotonic() - began) / len(os.sched_getaffinity(0))
    for row in smi_program.processes()[1]:
        if row.parent == leader.pid:
            subprocess.run(["kill", "-9", str(row.pid)])
    leader.communicate()
    assert gpu.busy >= 100 * 0.9 * share - 1
    assert gpu.busy > 0
    assert 200 <= gpu.used < 400
    assert gpu.free == MIB - gpu.used


def test_memory_is_shared_out_over_the_gpus(tmp_path: Path, leader: subprocess.Popen[bytes]) -> None:
    def used(count: int) -> int:
        listing = tmp_path / str(count)
        listing.write_text(f"{leader.pid} ta-1\n" + f"{H100}\t{MIB}\n" * count)
        return smi_program.Sampler(str(listing)).read()[0].used

    assert used(4) <= used(1) // 4 + 1


def test_a_family_is_followed_and_outsiders_are_not_read_again(leader: subprocess.Popen[bytes]) -> None:
    """Who comes later belongs to it, also when its parent is gone by then; who was outside costs nothing any more."""
    script = "import subprocess,sys\nsys.stdin.readline()\nsubprocess.Popen(['sleep', '60'])\nsys.stdin.readline()"
    family = subprocess.Popen([sys.executable, "-S", "-c", script], stdin=subprocess.PIPE, start_new_session=True)
    assert family.stdin is not None
    looked = smi_program.Family(family.pid)
    looked.look()
    assert leader.pid in looked._outsiders
    assert set(looked._members) == {family.pid}
    family.stdin.write(b"\n")
    family.stdin.flush()
    eventually(lambda: len(members(looked)) == 2)
    (child,) = set(looked._members) - {family.pid}
    family.communicate(b"\n")
    looked.look()
    assert child in looked._members
    subprocess.run(["kill", "-9", str(child)])
    eventually(lambda: not members(looked))


def members(looked: smi_program.Family) -> set[int]:
    """The processes of a family now."""
    looked.look()
    return set(looked._members)


def test_a_family_that_shrinks_has_not_worked_backwards() -> None:
    burn = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\ninput()"
    family = subprocess.Popen([sys.executable, "-S", "-c", burn], stdin=subprocess.PIPE, start_new_session=True)
    looked = smi_program.Family(family.pid)
    spent, deadline = 0.0, time.monotonic() + 60
    while spent < 0.25 and time.monotonic() < deadline:
        spent += looked.look()[0]
    family.communicate(b"\n")
    assert spent >= 0.25
    assert looked.look() == (0, 0)
