"""From nvidia-smi to the receipt: a machine whose scripted nvidia-smi has an H200, and cells that ask for an H100.

The local backend takes it for a real GPU, as it would one with a driver. It says its tape when the first cell says go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.kernel import Kernel

PROGRAM = """#!/bin/sh
case "$*" in
*-L*) echo "GPU 0: NVIDIA H200 (UUID: GPU-tape)"; exit;;
*query-compute-apps*) while echo "GPU-tape, 4711, 4096, /usr/bin/python3"; do sleep 0.2; done; exit;;
*uuid,memory.total,name*) echo "0, GPU-tape, 143771, NVIDIA H200"; exit;;
esac
echo "$*" >> {folder}/asked
while [ ! -e {folder}/go ]; do sleep 0.02; done
while read -r tick; do
    echo "0, GPU-tape, $tick, 143771, 500.5, 700.00, 50, 1410, 1980, P0, 5, 16, Disabled, 0x0, 580.95.05, NVIDIA H200"
    sleep 0.1
done < {folder}/tape
touch {folder}/done
while :; do
    echo "0, GPU-tape, [N/A], [N/A], 2048, 143771, [N/A], 700.00, 50, 1410, 1980, P0, 5, 16, Disabled, 0x0, 580.95.05, NVIDIA H200"
    sleep 0.1
done
"""
TICKS = "\n".join(f"{load}, 3, {used}" for load, used in [(40, 4096), (80, 10035)] * 6) + "\n"
"""Utilization, memory utilization, MiB in use; then it does not know its load any more."""
HEADER = "H100 A100-80GB --timeout 90m"
WATCH = """
def watch():
    import gc, os.path, time
    from modal_gpu_magic.container.gpu.sampler import Sampler
    while not os.path.exists(folder + "/asked"):  # the sampler starts the program with its own period
        time.sleep(0.02)
    (sampler,) = [each for each in gc.get_objects() if type(each) is Sampler]
    sampler._period = 0.1
    time.sleep(2)
    open(folder + "/go", "w").close()
    end = time.monotonic() + 60
    while sum(1 for each in list(sampler.readings) for gpu in each.samples if gpu.utilization is not None) < 12:
        assert time.monotonic() < end
        time.sleep(0.05)
"""
"""A function of a cell that waits until the container has read the whole tape. Readings that arrive late together are
taken for as many periods old; none of them must seem older than the cell."""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel on a machine with that GPU. Its tests are one story."""
    folder: Path = tmp_path_factory.mktemp("smi")
    program = folder / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(PROGRAM.format(folder=folder))
    program.chmod(0o700)
    (folder / "tape").write_text(TICKS)
    with Kernel(env={"PATH": f"{program.parent}:/usr/local/bin:/usr/bin:/bin"}) as kernel:
        kernel.load()
        kernel.run(f"folder = {str(folder)!r}")
        yield kernel


def test_a_cell_sees_what_arrived_and_its_receipt_says_it(machine: Kernel) -> None:
    cell = (
        f"{WATCH}\nfrom modal_gpu_magic import current\nhere = current()\nwatch()\n"
        "here.spec, here.asked, here.gpus[0].uuid, here.backend, here.simulated"
    )
    result = machine.remote(cell, HEADER)
    assert result.value() == "('H200', ('H100', 'A100-80GB'), 'GPU-tape', 'local', False)"
    receipt = " ".join(result.notes[-1].text.split("\n"))
    assert receipt.startswith("done · H200 of this machine (asked H100 A100-80GB) · ")
    assert "peak 9.8 of 140 GiB · utilisation 60 %" in receipt
    assert "141 GB nominal · utilisation at most 80 % · mean power 500 W" in receipt
    assert "an L4 would fit: saves $3.15/h" in receipt


def test_the_session_s_metrics_have_the_script_s_numbers(machine: Kernel) -> None:
    assert machine.run("m = %modal_gpu metrics").ok
    assert machine.print("m.gpus") == "('GPU-tape',)"
    ticks = machine.print(
        "[(int(s.utilization), int(s.memory_used_mib)) for s in m.samples('GPU-tape') if s.utilization is not None]"
    )
    assert ticks == str([(40, 4096), (80, 10035)] * 6)
    assert machine.print("m.mean('utilization'), m.peak('memory_used_mib'), m.peak('power_w')") == "60.0 10035.0 500.5"
    assert (
        machine.print("list(m.to_dataframe().columns)[:3], m.to_dataframe().simulated.any()")
        == "['time', 'index', 'uuid'] False"
    )


def test_samples_go_on_between_cells(machine: Kernel) -> None:
    wait = (
        "import time\nbefore = len(m.samples('GPU-tape')); run = len(m.run.samples('GPU-tape'))\n"
        "end = time.monotonic() + 60\nwhile len(m.samples('GPU-tape')) < before + 3 and time.monotonic() < end: time.sleep(0.05)\n"
        "len(m.samples('GPU-tape')) >= before + 3, len(m.run.samples('GPU-tape')) == run"
    )
    assert machine.run(wait).value() == "(True, True)"


def test_out_of_memory_names_the_peak_the_next_larger_gpu_and_the_line(machine: Kernel) -> None:
    cell = "class OutOfMemoryError(RuntimeError): pass\nraise OutOfMemoryError('CUDA out of memory. Tried to allocate 90.00 GiB.')"
    result = machine.remote(cell, HEADER)
    assert result.error.startswith("OutOfMemoryError")
    assert (
        "H200 ran out of memory at a peak of 9.8 GiB. The next larger is B200 (192 GB, $6.25/h): %%modal_gpu B200 --timeout 1h30m"
    ) in result.said


def test_a_fault_of_the_gpu_is_said_once_and_kept(machine: Kernel) -> None:
    fault = "[gpu-health] [CRITICAL] GPU-tape: XID: 79: off the bus"
    result = machine.remote(f"for _ in range(2): print({fault!r})", "")
    assert result.said.count("GPU fault; Modal will stop using this machine. GPU-tape: XID: 79: off the bus") == 1
    assert machine.print("m.health[0].xid, len(m.health)") == "79 1"


def test_a_fault_in_modal_s_log_is_found_when_cuda_fails(machine: Kernel) -> None:
    """Modal writes it past the cell's output; so does this cell, to the descriptor that was there before it."""
    fault = "[gpu-health] [WARN] GPU-tape: XID: 31\\n"
    past = (
        "import gc\nfrom modal_gpu_magic.container.output.capture import Capture\n"
        f"[each] = [each for each in gc.get_objects() if type(each) is Capture]\neach.log('{fault}')\n"
    )
    result = machine.remote(past + "raise RuntimeError('CUDA error: an illegal memory access was encountered')", "")
    assert "GPU fault; Modal does nothing" in result.said
    assert machine.print("[event.xid for event in m.health]") == "[79, 31]"


def test_nvidia_smi_is_started_once_for_all_of_it(machine: Kernel) -> None:
    asked = Path(machine.env["PATH"].partition("/bin:")[0]) / "asked"
    assert len(asked.read_text().splitlines()) == 1
    assert re.fullmatch(r"(-i 0 )?--query-gpu=index,uuid,.* -lms 1000\n", asked.read_text())
