"""`--torchrun` in a notebook, with real torch and gloo: values in, rank 0's out, failures, ■, and nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from modal_gpu_magic.container.ranks.protocol import ADDRESS
from tests.e2e.detached_user import wait_until
from tests.e2e.kernel import Kernel

SAME = "H100:2"
TWO = "H100:2 --torchrun"

pytestmark = pytest.mark.timeout(300)
"""Ranks import torch, each by itself: on a busy machine that takes its time."""


@pytest.fixture(scope="module", autouse=True)
def _session(kernel: Kernel) -> Iterator[None]:
    """A session with a variable of its own. When all tests are through and it still lives, no rank's process does."""
    assert kernel.remote("kept = 'here'", SAME).ok
    yield
    wait_until(lambda: ranks_of(kernel) == [])


def ranks_of(kernel: Kernel) -> list[psutil.Process]:
    """What ranks and their torchrun started, at any remove, and lives."""
    return [process for process in kernel.processes() if _is_a_rank_s(process)]


def _is_a_rank_s(process: psutil.Process) -> bool:
    try:
        return ADDRESS in process.environ()
    except psutil.NoSuchProcess:
        return False


TRAIN = """
import os
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

if __name__ == "__main__":
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    assert int(os.environ["LOCAL_RANK"]) == rank % int(os.environ["LOCAL_WORLD_SIZE"])
    assert (str(rank), str(world)) == (os.environ["RANK"], os.environ["WORLD_SIZE"])
    parallel = DistributedDataParallel(model)
    losses = train(parallel, inputs[rank::world], targets[rank::world])
    mean = torch.tensor(losses)
    dist.all_reduce(mean)
    losses = (mean / world).tolist()
    print(f"rank {rank} of {world} ends at {losses[-1]:.4f}")
    del parallel
    dist.destroy_process_group()
losses[-1]
"""
"""Each rank has its share of the same global batch."""

SINGLE = """
import copy, torch
torch.manual_seed(0)
inputs, targets = torch.randn(32, 8), torch.randn(32, 1)
model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))

def train(model, inputs, targets, steps=5):
    losses = []
    for _ in range(steps):
        loss = torch.nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        with torch.no_grad():  # torch.optim takes longer to import than torch
            for parameter in model.parameters():
                parameter -= 0.1 * parameter.grad
                parameter.grad = None
        losses.append(loss.item())
    return losses

alone = copy.deepcopy(model)
expected = train(alone, inputs, targets)
"""


def test_distributed_training_agrees_with_one_process(kernel: Kernel) -> None:
    """Values and functions of the notebook are in every rank; rank 0's variables, result and model come back."""
    assert kernel.run(SINGLE).ok
    result = kernel.remote(TRAIN, f"{TWO} --ranks all")
    assert result.ok, result.error
    assert result.stdout.count("rank 0 of 2") == 1
    assert "[rank 1] rank 1 of 2 ends at" in result.stdout
    assert kernel.print("torch.allclose(torch.tensor(losses), torch.tensor(expected), atol=1e-5)") == "True"
    same = "all(torch.allclose(model.state_dict()[k], v, atol=1e-5) for k, v in alone.state_dict().items())"
    assert kernel.print(same) == "True"
    assert float(result.value()) == pytest.approx(float(kernel.print("expected[-1]")), abs=1e-5)


WORKERS = """
import subprocess, sys
from torch.utils.data import ConcatDataset, DataLoader

class Squares:
    def __len__(self): return 4
    def __getitem__(self, index): return square(index) + OFFSET

OFFSET = 2 * 50
rank = int(os.environ["RANK"])
if __name__ == "__main__" and rank == 0:
    loader = DataLoader(ConcatDataset([Squares(), cubes]), num_workers=1, multiprocessing_context="spawn")
    total = sum(int(batch.sum()) for batch in loader)
    print("argv", len(sys.argv), "name", input("name? "))
    place = os.path.dirname(os.environ["MODAL_GPU_RANKS"])
    big = torch.zeros(80_000_000, dtype=torch.uint8)
    opened = open(os.devnull)
else:
    subprocess.Popen(["sleep", "300"], start_new_session=True)
"""


def test_spawned_workers_input_and_what_stays(kernel: Kernel) -> None:
    """Classes of the notebook and of the cell reach spawned workers; a large value stays; an open file is named."""
    definitions = (
        "import os, torch\n"
        "def square(x): return x * x\n"
        "class Cubes:\n"
        "    def __len__(self): return 4\n"
        "    def __getitem__(self, index): return index ** 3\n"
        "cubes = Cubes()"
    )
    assert kernel.run(definitions).ok
    result = kernel.remote(WORKERS, f"{TWO} --fetch 1MB", answers=["me"])
    assert result.ok, result.traceback
    assert kernel.print("total") == "450"
    assert "argv 1 name me" in result.stdout
    assert result.asked == ("name? ",)
    assert "RemoteValue" in kernel.print("type(big)")
    assert kernel.remote("len(big)", SAME).value() == "80000000"
    used = kernel.run("opened.name")
    assert "rank 0" in used.error
    assert "LostValueError" in kernel.remote("opened", SAME).error
    wait_until(lambda: ranks_of(kernel) == [])
    place = Path(kernel.print("place"))
    wait_until(lambda: not place.exists())


def test_a_failing_rank_ends_the_others_and_is_named(kernel: Kernel) -> None:
    """Rank 0 waits: the error is rank 1's own, with its own traceback, and the session goes on."""
    source = (
        "import os, time\n"
        "if os.environ['RANK'] == '0': print('before', flush=True); open('printed', 'w').close()\n"
        "while not os.path.exists('printed'): time.sleep(0.01)\n"
        "if os.environ['RANK'] == '1': {}['missing']\n"
        "time.sleep(600)\n"
    )
    result = kernel.remote(source, TWO)
    assert result.error == "KeyError: 'missing'"
    assert "line 5" in result.traceback
    assert "(rank 1 of 2)" in result.traceback
    assert "before" in result.stdout
    assert kernel.remote("kept", SAME).value() == "'here'"


KILLED = {
    "killed": ("os.kill(os.getpid(), 9)", "SIGKILL"),
    "left": ("os._exit(0)", "exited before the cell ended"),
}


@pytest.mark.parametrize("source, how", KILLED.values(), ids=KILLED.keys())
def test_a_rank_that_dies_is_named_with_its_last_words(kernel: Kernel, tmp_path: Path, source: str, how: str) -> None:
    shown = tmp_path / "shown"
    result = kernel.remote(
        f"import os, time\nprint('rank', os.environ['RANK'], flush=True)\n"
        f"while not os.path.exists({str(shown)!r}): time.sleep(0.01)\n"
        f"if os.environ['RANK'] == '1': {source}\ntime.sleep(600)",
        f"{TWO} --ranks 1",
        when={"[rank 1] rank 1": shown.touch},
    )
    assert result.reply["ename"] == "RankLost"
    assert f"rank 1 {'died' if '9' in source else 'exited'}" in result.error
    assert how in result.error
    assert "rank 1" in result.error.rpartition("wrote:")[2]
    assert kernel.remote("1 + 1", SAME).value() == "2"


def test_stopped_in_a_collective(kernel: Kernel) -> None:
    """No exception reaches rank 1, which waits for rank 0; what rank 0 had bound comes home, and what was printed."""
    source = (
        "import time\n"
        "def wait():\n"
        "    import torch.distributed as dist\n"
        "    dist.init_process_group('gloo')\n"
        "    if dist.get_rank() == 0:\n"
        "        global reached\n"
        "        reached = 'the barrier'\n"
        "        print('ready', flush=True)\n"
        "        time.sleep(600)\n"
        "    print('waits', flush=True)\n"
        "    dist.barrier()\n"
        "wait()\n"
    )
    result = kernel.remote(source, f"{TWO} --ranks 1", press=[("ready", "[rank 1] waits", 1.0)])
    assert result.reply.get("ename") == "KeyboardInterrupt"
    assert "[rank 1] waits" in result.stdout
    assert kernel.print("reached") == "the barrier"
    wait_until(lambda: ranks_of(kernel) == [])
    assert kernel.remote("kept", SAME).value() == "'here'"


def test_the_time_limit_holds_in_ranks(kernel: Kernel) -> None:
    result = kernel.remote("import time\ntime.sleep(600)", f"{TWO} --timeout 5s")
    assert "CellTimeout" in result.error
    assert kernel.remote("kept", SAME).value() == "'here'"


def test_a_notebook_shows_tabs_and_keeps_what_needs_no_widgets(kernel: Kernel) -> None:
    result = kernel.remote("print('<hello>')", f"{TWO} --ranks 1", answers=[])
    kinds = [message.kind for message in (*result.messages, *result.notes)]
    assert "comm_open" in kinds
    tabs = [m for m in result.notes if m.content["metadata"]["modal_gpu"]["kind"] == "ranks"]
    kept = tabs[-1]
    assert kept.kind == "display_data", "it stands below the output of rank 0"
    assert tabs[-2].content["data"] == {"text/plain": ""}, "the tabs are gone"
    assert kept.content["transient"]["display_id"] != tabs[-2].content["transient"]["display_id"]
    assert "<details open>" in kept.content["data"]["text/html"]
    assert "rank 1 · <code>&lt;hello&gt;</code></summary>" in kept.content["data"]["text/html"]
    assert "&lt;hello&gt;" in kept.content["data"]["text/html"]
    assert kept.text == "[rank 1] <hello>"
