"""A session's values outlive its container: the next one goes on with them, or says what is lost."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from modal_gpu_magic.catalog.limits import SESSION_MOUNT
from modal_gpu_magic.container.state.saved_session import IDLE_VARIABLE
from modal_gpu_magic.wire.saved.reading import SavedState
from tests.e2e.detached_user import wait_until

if TYPE_CHECKING:
    from tests.e2e.kernel import Kernel, Result

SOON = f"T4 --env {IDLE_VARIABLE}=0.1 --fetch 10kB"
"""A machine whose state is saved as soon as it is idle, and whose larger values stay."""
LATE = f"T4 --env {IDLE_VARIABLE}=1000 --fetch 10kB"
"""A machine whose state is saved when the container ends, and not before."""
WITHIN = 90.0
"""Seconds that a save may take on a busy machine."""
MORE = "import os, json, time; print(json.dumps([os.getpid(), os.environ['MODAL_GPU_VOLUMES'], time.time()]))"


class Saved:
    """A session whose last cell says where its container and its saved state are."""

    def __init__(self, kernel: Kernel, header: str = SOON, session: str = "default") -> None:
        self.kernel, self.session = kernel, session
        self.header = header + ("" if session == "default" else f" --session {session}")
        self.pid, self.began = 0, 0.0
        self.top = Path()

    def run(self, source: str) -> Result:
        """Run a cell, and remember its container."""
        done = self.kernel.remote(f"{MORE}\n{source}", self.header)
        first = done.stdout.partition("\n")[0]
        if first.startswith("["):
            self.pid, volumes, self.began = json.loads(first)
            self.top = Path(json.loads(volumes)[SESSION_MOUNT])
        return done

    @property
    def directory(self) -> Path:
        return self.top / self.session / "state"

    @property
    def state(self) -> SavedState | None:
        return SavedState.open(lambda path: (self.top / path).read_bytes(), self.session)

    def save(self, source: str) -> Result:
        """Run a cell, and wait until its changes are saved: nothing is saved while a cell runs."""
        done = self.run(source)
        assert done.ok, done.traceback + done.said
        deadline = time.monotonic() + WITHIN
        while (state := self.state) is None or state.saved_at < self.began:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return done

    def kill(self) -> None:
        """Kill the container."""
        process = psutil.Process(self.pid)
        process.send_signal(signal.SIGKILL)
        process.wait(60)


@pytest.fixture(scope="module")
def saved(kernel: Kernel) -> Saved:
    return Saved(kernel)


def test_a_model_in_training_goes_on_in_the_next_container(kernel: Kernel, saved: Saved) -> None:
    """Values, what is one object, functions, classes, random numbers, options, files: all go on."""
    kernel.run("import random; settings = {'rate': 0.5}; seen = []")
    saved.save(
        """
import random, torch, numpy as np
torch.manual_seed(3); np.random.seed(4); random.seed(5); np.set_printoptions(precision=3)
class Trainer:
    def __init__(self, settings): self.settings, self.big, self.steps = settings, np.ones(50_000), 0
    def step(self): self.steps += 1; seen.append(self.steps); return self.settings["rate"] * self.steps
model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 1))
optimizer = torch.optim.Adam(model.parameters())
data = np.arange(100_000.0); view = data[1:]
trainer = Trainer(settings); trainer.step()
total = torch.rand(3), np.random.rand(3).tolist(), random.random()
open("made.txt", "w").write("by a cell")
loss = model(torch.ones(1, 64)).sum()
data.sum(); data * 2""",
    )
    remote = "sorted(n for n, v in globals().items() if type(v).__name__ == 'RemoteValue' and n[0] != '_')"
    before = kernel.print(remote)
    assert "model" in before
    old = saved.pid
    expected = kernel.print("random.getstate()[1][:3]")
    saved.kill()
    again = saved.run(
        """
out = model(torch.ones(2, 64)).sum(); out.backward(); optimizer.step()
view[0] = -1
assert optimizer.param_groups[0]["params"][0] is next(model.parameters())
assert (data[1], len(data), trainer.step(), type(trainer) is Trainer) == (-1.0, 100_000, 1.0, True)
assert trainer.settings is settings and seen == [1, 2], seen
assert open("made.txt").read() == "by a cell"
assert np.get_printoptions()["precision"] == 3
print(random.getstate()[1][:3])"""
    )
    assert again.ok, again.traceback + again.said
    assert saved.pid != old
    assert expected in again.stdout
    assert "The container was replaced; restored" in again.said
    assert kernel.print(remote).count("'") == before.count("'")
    assert kernel.print("seen, settings") == "[1, 2] {'rate': 0.5}"
    assert kernel.run("float(data.fetch()[1]), len(view.fetch())").value() == "(-1.0, 99999)"
    settings = saved.run("settings['rate'] = 7; trainer.settings['rate']")
    assert settings.value() == "7"
    assert kernel.print("settings") == "{'rate': 7}"


def test_a_value_is_fetched_from_a_container_that_has_ended(kernel: Kernel, saved: Saved) -> None:
    saved.save("fetched = list(range(30_000)); fetched[0] = 5")
    saved.kill()
    assert kernel.run("int(fetched.fetch()[0]), len(fetched.fetch())").value() == "(5, 30000)"
    assert saved.run("int(fetched[0])").value() == "5"
    assert kernel.run("open('here.txt', 'w').write('x')").ok
    assert saved.run("open('here.txt').read()").value() == "'x'"


def test_what_is_not_saved_is_named_once_and_its_loss_is_a_name_error(kernel: Kernel, saved: Saved) -> None:
    saved.save("import threading\nlocked = [threading.Lock(), 1]; kept = list(range(30_000))")
    told = [saved.save("1").said]
    while "Not saved" not in told[-1]:  # a cell may begin before the save of the one before is over
        told.append(saved.save("1").said)
    assert "Not saved, so lost if the container ends: `locked`: it holds a lock" in told[-1]
    assert "Not saved" not in saved.save("2").said
    saved.kill()
    lost = saved.run("'before', len(kept), locked")
    assert lost.reply["ename"] == "LostValueError"
    assert "locked" in lost.reply["evalue"]
    assert "it was not saved: it holds a lock" in lost.reply["evalue"]
    assert "run the cell that made it again" in lost.reply["evalue"]
    kernel.run("which = 'dekcol'")
    dynamic = saved.run("len(kept), eval(which[::-1])")
    assert dynamic.reply["ename"] == "NameError"
    assert "it was not saved: it holds a lock" in dynamic.reply["evalue"]
    caught = kernel.run("try: locked.fetch()\nexcept NameError as error: print(error)")
    assert "not saved" in caught.stdout
    assert saved.run("locked = 3; len(kept), locked").value() == "(30000, 3)"


def test_a_cell_that_dies_costs_its_own_changes_alone(kernel: Kernel, saved: Saved) -> None:
    saved.save("grown = list(range(30_000))")
    died = saved.run("grown.append(1); os._exit(3)")
    assert died.reply["ename"] == "ContainerLost"
    assert "exit code 3" in died.reply["evalue"]
    assert saved.run("len(grown)").value() == "30000"


def test_a_damaged_file_is_a_name_error_never_a_wrong_value(kernel: Kernel, saved: Saved) -> None:
    saved.save("import numpy as np\nwhole, damaged = np.ones(30_000), np.zeros(30_000)")
    state = saved.state
    assert state is not None
    (group,) = [each for each in state.manifest.groups if "damaged" in each.names]
    (key,) = group.buffers
    saved.kill()
    file = saved.directory / "buffers" / key
    content = bytearray(file.read_bytes())
    content[1000] ^= 1
    file.write_bytes(content)
    again = saved.run("float(whole.sum()), float(damaged.sum())")
    assert again.reply["ename"] == "NameError", again.traceback
    assert "damaged" in again.reply["evalue"]
    assert "its saved file is damaged" in again.reply["evalue"]
    assert saved.run("float(whole.sum())").value() == "30000.0"
    refused = saved.run("damaged")
    assert refused.reply["ename"] == "LostValueError"


def test_a_damaged_manifest_is_said(kernel: Kernel, saved: Saved) -> None:
    saved.save("gone = list(range(30_000))")
    saved.kill()
    (saved.directory / "manifest").write_bytes(b"nothing")
    again = saved.run("1")
    assert "Lost with it" in again.said
    assert "gone" in again.said
    assert "the saved state cannot be read" in again.said


def test_what_later_cells_changed_is_lost_and_named(kernel: Kernel) -> None:
    late = Saved(kernel, LATE, "late")
    late.run("first, second = list(range(30_000)), list(range(30_000))")
    process = psutil.Process(late.pid)
    late.run("third = 1")
    process.kill()
    process.wait(60)
    lost = late.run("len(first)")
    assert lost.reply["ename"] == "LostValueError"
    assert "nothing was saved" in lost.said + lost.reply["evalue"]


def test_an_idle_container_saves_at_its_end(kernel: Kernel) -> None:
    brief = Saved(kernel, f"{LATE} --env OWN=1 --keep-warm 2s", "brief")
    brief.run("idle = list(range(30_000)); idle[5] = 'five'")
    wait_until(lambda: not psutil.pid_exists(brief.pid))
    assert brief.state is not None
    again = brief.run("idle[5]")
    assert again.value() == "'five'", again.said


class TestWhileTheFormerContainerSaves:
    """An idle container ends, and saves; meanwhile the notebook asks for a value. The next container waits for the save."""

    SLOW = """
class Slow:
    def __init__(self, folder): self.folder, self.items = folder, list(range(30_000))
    def __getstate__(self):
        import pathlib, time
        folder = pathlib.Path(self.folder)
        if (folder / "armed").exists():
            (folder / "saving").write_text("")
            while not (folder / "go").exists(): time.sleep(0.01)
        return self.__dict__
"""

    @pytest.fixture
    def ending(self, kernel: Kernel, tmp_path: Path) -> Iterator[Saved]:
        """A session whose container has begun to save at its end.

        The save goes on once the next container has nothing to do: it waits, or has answered that the values are lost.
        """
        brief = Saved(kernel, f"{LATE} --keep-warm 2s", f"ending-{tmp_path.name[-1]}")
        kernel.run("listed = [1]")
        assert brief.run(f"{self.SLOW}\nslow = Slow({str(tmp_path)!r})\nlisted.append(2)\nstays = [listed, slow]").ok
        (tmp_path / "armed").write_text("")
        wait_until((tmp_path / "saving").exists)
        old = {process.pid for process in kernel.processes()}

        def go_on() -> None:
            wait_until(lambda: any(_rests(each) for each in kernel.processes() if each.pid not in old))
            (tmp_path / "go").write_text("")

        opener = threading.Thread(target=go_on)
        opener.start()
        yield brief
        opener.join()

    def test_a_cell_goes_on_with_the_values(self, kernel: Kernel, ending: Saved) -> None:
        former = ending.pid
        again = ending.run("listed.append(3)\nlen(slow.items), stays[0] is listed, stays[1] is slow, listed")
        assert again.value() == "(30000, True, True, [1, 2, 3])", again.said
        assert ending.pid != former
        assert kernel.print("listed") == "[1, 2, 3]"

    def test_a_fetch_brings_the_value(self, kernel: Kernel, ending: Saved) -> None:
        assert kernel.run("len(slow.fetch().items)").value() == "30000"
        assert ending.run("stays[0] is listed, listed").value() == "(True, [1, 2])"


def _rests(process: psutil.Process) -> bool:
    """Whether a process is a container that has started, and uses no processor for a second."""
    try:
        if process.name() != "modal-container" or process.num_threads() < 2:  # waits for its definition
            return False
        began = sum(process.cpu_times()[:2])
        time.sleep(1)
        return sum(process.cpu_times()[:2]) - began < 0.1
    except psutil.Error:
        return False


def test_a_move_takes_all_values_along(kernel: Kernel) -> None:
    moved = Saved(kernel, f"{SOON}", "moved")
    moved.run("cargo = list(range(30_000)); lock = __import__('threading').Lock()")
    moved.header = moved.header.replace("T4", "L4 --move")
    again = moved.run("len(cargo)")
    assert again.value() == "30000", again.said
    assert "restored" in again.said


def test_without_saving_nothing_is_mounted(kernel: Kernel) -> None:
    off = kernel.remote(
        "import os, json\nstays = list(range(30_000))\nprint(os.getpid(), os.environ['MODAL_GPU_VOLUMES'])",
        "T4 --save 0 --fetch 10kB --session off",
    )
    pid, _, volumes = off.stdout.partition(" ")
    assert SESSION_MOUNT not in volumes
    process = psutil.Process(int(pid))
    process.kill()
    process.wait(60)
    lost = kernel.remote("len(stays)", "T4 --fetch 10kB --session off")
    assert lost.reply["ename"] == "LostValueError"


def test_a_fetch_that_cannot_go_on_takes_nothing_from_the_next_cell(kernel: Kernel) -> None:
    """The container is killed after a cell whose changes were not saved; the notebook asks for a value first."""
    saved = Saved(kernel, LATE, "asked-first")
    assert saved.run("kept, changed = bytearray(50_000), bytearray(50_000)").ok
    save = "get_ipython().magics_manager.magics['cell']['modal_gpu'].__self__.state.sessions['asked-first'].app.save"
    assert kernel.run(f"{save}()").value() == "{}"
    assert saved.run("changed.append(1)").ok
    saved.kill()
    assert "the next remote cell restores what was saved" in kernel.run("kept.fetch()").error
    assert saved.run("size = len(kept)").ok
    assert kernel.print("size, len(kept.fetch())") == "50000 50000"
    assert "the cells after the last save may have changed it" in saved.run("changed").error


def test_a_move_after_a_cell_that_died_restores_what_was_saved(kernel: Kernel) -> None:
    """As after a cell that has run out of memory: the values go from the Volume into the larger machine."""
    saved = Saved(kernel, SOON, "moved-after")
    saved.save("kept = bytearray(50_000)\nbox = [kept]")
    assert "ContainerLost" in saved.run("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)").error
    moved = kernel.remote("len(kept), box[0] is kept", f"{SOON.replace('T4', 'H100')} --move --session moved-after")
    assert moved.value() == "(50000, True)", moved.traceback
    assert "restored `box`, `json`, `kept`" in moved.said
    assert "sent" not in moved.said
