"""What lasts between cells: one container, its variables, and what is sent again when it is gone."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.e2e.compare import shown
from tests.e2e.detached_user import wait_until

if TYPE_CHECKING:
    from tests.e2e.kernel import Kernel


def container(kernel: Kernel, header: str = "") -> int:
    """The process of a session's container, which runs on this machine."""
    return int(kernel.remote("import os\nos.getpid()", header).value())


def test_a_changed_name_is_sent_again(kernel: Kernel) -> None:
    kernel.run("level = [1]")
    assert kernel.remote("level").value() == "[1]"
    kernel.run("level.append(2)")
    assert kernel.remote("level").value() == "[1, 2]"
    kernel.run("level = 'new'")
    assert kernel.remote("level").value() == "'new'"


def test_an_unchanged_name_is_not_sent_again(kernel: Kernel) -> None:
    """The object there is the same one: it would be another if it had come anew."""
    kernel.run("import numpy as np\nstill = np.arange(100_000)")
    kernel.remote("first = id(still)\nkept_alive = still")
    assert kernel.remote("id(still) == first, still is kept_alive").value() == "(True, True)"
    kernel.run("still[0] = 5")
    assert kernel.remote("int(still[0]), still is kept_alive").value() == "(5, True)"


def test_what_is_deleted_here_is_freed_here(kernel: Kernel) -> None:
    """Lists and dicts are held by the table of what both sides have until a cell has ended."""
    kernel.run("import weakref\nclass Leaf: pass\ntree = {'rows': [[Leaf()]]}\nleaf = weakref.ref(tree['rows'][0][0])")
    kernel.remote("len(tree['rows'])")
    kernel.run("del tree")
    wait_until(lambda: kernel.run("leaf() is None").value() == "True")


def test_a_name_changed_there_is_not_sent_over(kernel: Kernel) -> None:
    kernel.run("total = [0]")
    for _ in range(3):
        kernel.remote("total[0] += 1")
    assert kernel.print("total") == "[3]"


def test_clean_starts_with_an_empty_namespace(kernel: Kernel) -> None:
    kernel.run("from_here = 1")
    kernel.remote("import threading\nonly_there = threading.Lock()")
    assert kernel.remote("'only_there' in globals(), from_here").value() == "(True, 1)"
    assert kernel.remote("'only_there' in globals(), from_here", "H100 --clean").value() == "(False, 1)"


def test_two_sessions_do_not_see_each_other(kernel: Kernel) -> None:
    kernel.remote("import threading\nonly_in_one = threading.Lock()", "H100 --session one")
    kernel.remote("made_in_two = 2\nalso = threading = None", "H100 --session two")
    assert container(kernel, "--session one") != container(kernel, "--session two")
    result = kernel.remote("only_in_one.locked()", "H100 --session two")
    assert not result.ok
    assert "--session one" in result.error
    assert kernel.remote("only_in_one.locked()", "H100 --session one").value() == "False"


def test_six_cells_open_one_app_and_keep_a_counter(renewed: Kernel) -> None:
    image = "import modal\nimage = modal.Image.debian_slim().pip_install('einops')"
    renewed.run(image)
    count = "count += 1\nimport os\ncount, os.getpid()"
    first = renewed.remote(
        "import os, einops\ncount = 0\nos.getpid()", "H100 --image image --volume d:/d --pip einops"
    ).value()
    seen = [
        renewed.remote(count).value(),
        renewed.remote(count, "").value(),
        renewed.remote(count, "H100").value(),
        renewed.remote(count, "H100 --timeout 2h").value(),
        renewed.remote(f"import wave\n{count}", "").value(),
    ]
    renewed.run(image)
    seen.append(renewed.remote(count, "").value())
    assert seen == [f"({n}, {first})" for n in range(1, 7)]


def test_a_volume_keeps_files_between_machines(renewed: Kernel) -> None:
    renewed.remote("open('/kept/note.txt', 'w').write('hello');", "H100 --volume kept-files:/kept")
    read = renewed.remote("open('/kept/note.txt').read()", "A100-80GB --volume kept-files:/kept")
    assert read.value() == "'hello'"


def test_a_header_that_replaces_the_machine_says_so_first(renewed: Kernel) -> None:
    renewed.remote("import threading\nheld = threading.Lock()\nsmall = 5", "H100")
    result = renewed.remote("small", "A100-80GB")
    assert result.value() == "5"
    note, *_ = result.notes
    assert "held" in note.text
    assert "A100-80GB" in note.text
    assert "--session" in note.text
    assert note.at < result.messages[0].at


def test_move_carries_the_values_over(renewed: Kernel) -> None:
    renewed.remote("big = list(range(300_000))", "H100 --fetch 1KB")
    assert renewed.print("type(big).__name__") == "RemoteValue"
    assert renewed.remote("len(big)", "A100-80GB --move").value() == "300000"


def test_a_header_inherits_what_it_does_not_say(renewed: Kernel) -> None:
    renewed.remote("1", "H100 --env MG_INHERITED=yes")
    assert renewed.remote("import os\nos.environ['MG_INHERITED']", "--timeout 1h").value() == "'yes'"
    assert "H100" in renewed.remote("1", "").said


def test_the_container_has_the_gpu_that_was_asked_for(renewed: Kernel) -> None:
    shown = renewed.remote("!nvidia-smi -L", "H100:2").stdout
    assert shown.count("H100") == 2


def test_an_empty_header_is_legal_in_the_first_cell(renewed: Kernel) -> None:
    assert renewed.remote("1 + 1", "").value() == "2"


class TestContainerGone:
    """A container that died between cells, or before a run reached user code."""

    @pytest.fixture
    def dead(self, renewed: Kernel) -> Kernel:
        """A kernel whose container was killed after `here` was sent and `there` was made."""
        renewed.run("import numpy as np\nhere = np.arange(5)")
        renewed.remote("import threading\nthere = threading.Lock()\nplain = here.sum()")
        os.kill(container(renewed), signal.SIGKILL)
        return renewed

    def test_what_was_sent_is_sent_again(self, dead: Kernel) -> None:
        result = dead.remote("print(here.sum(), plain)")
        assert (result.stdout, result.error) == ("10 10\n", "")

    def test_what_lived_there_is_named_and_nothing_runs(self, dead: Kernel) -> None:
        result = dead.remote("print('ran')\nthere.locked()")
        assert not result.ok
        assert result.stdout == ""
        assert "there" in result.reply["evalue"]

    def test_what_lived_there_is_named_although_the_cell_does_not_need_it(self, dead: Kernel) -> None:
        result = dead.remote("print('ran')")
        assert (result.stdout, result.error) == ("ran\n", "")
        assert "there" in result.said

    def test_a_counter_that_came_home_goes_on(self, renewed: Kernel) -> None:
        renewed.remote("count = 1")
        os.kill(container(renewed), signal.SIGKILL)
        assert renewed.remote("count += 1\ncount").value() == "2"

    def test_a_run_that_is_delivered_again_never_meets_an_empty_namespace(self, renewed: Kernel) -> None:
        """The container freezes, the run is on its way to it, then it dies: another one gets the run."""
        renewed.run("sent = 41")
        renewed.remote("there = sent + 1\nprint('made')")
        pid = container(renewed)
        os.kill(pid, signal.SIGSTOP)
        killer = threading.Timer(1.0, os.kill, (pid, signal.SIGKILL))
        killer.start()
        result = renewed.remote("print(sent, there)")
        killer.join()
        assert (result.stdout, result.ok) in (("41 42\n", True), ("", False))
        assert renewed.remote("print(sent, there)").stdout == "41 42\n"


RUN_ALL = [
    "%%modal_gpu H100\nimport torch\ntorch.manual_seed(0)\nmodel = torch.nn.Linear(2, 1)",
    "%%modal_gpu\nfor step in range(2): print('step', step)\nmodel(torch.ones(1, 2)).shape",
    "print(model.weight.shape)",
    "%%modal_gpu\ntable = {'step': step}\ntable",
    "table",
]


def test_run_all_twice(kernel: Kernel) -> None:
    """The same outputs, and no second container."""

    def run_all() -> list[Any]:
        return [shown(kernel.run(source)) for source in RUN_ALL]

    kernel.remote("1", "H100")
    pid = container(kernel)
    assert run_all() == run_all()
    assert container(kernel) == pid


def test_unload_ends_the_sessions_and_load_begins_anew(renewed: Kernel) -> None:
    pid = container(renewed, "H100")
    assert renewed.run("%unload_ext modal_gpu_magic").ok
    assert not renewed.remote("1").ok
    assert renewed.run("%reload_ext modal_gpu_magic").ok
    assert container(renewed, "H100") != pid


def test_dry_run_runs_nothing_and_prints_the_modal_function(kernel: Kernel) -> None:
    result = kernel.remote("print('ran')", "H100:2 --dry-run")
    text = result.stdout + result.said
    assert "ran\n" not in result.stdout
    assert "H100:2" in text
    assert "import modal" in text


def test_quiet_shows_the_cell_alone(kernel: Kernel) -> None:
    result = kernel.remote("print('alone')", "H100 --quiet")
    assert result.stdout == "alone\n"
    assert result.notes == ()


def test_the_receipt_is_honest_about_where_it_ran(kernel: Kernel) -> None:
    receipt = kernel.remote("print(1)", "H100").notes[-1].text
    assert receipt.startswith("done · H100 simulated on this CPU · "), receipt


def test_keep_warm_changes_without_a_new_machine(renewed: Kernel) -> None:
    pid = int(renewed.remote("import os\nn = 1\nos.getpid()", "H100 --keep-warm 60").value())
    changed = renewed.remote("n += 1", "--keep-warm 2")
    assert "New machine" not in changed.said
    wait_until(lambda: not psutil.pid_exists(pid))
    result = renewed.remote("n")
    assert result.value() == "2"
    assert "was replaced; restored" in result.said, "the idle container should have been gone by now"


def test_the_end_of_a_session_ends_no_other_session_of_the_same_machine(fresh: Kernel) -> None:
    """Each session has an App of its own: what stays in another one's container can still be fetched."""
    assert fresh.remote("1", "T4 --session one").ok
    pid = fresh.remote("import os\nheld = [1, 2]\nos.getpid()", "T4 --session two --fetch 0").value()
    assert fresh.run("%modal_gpu stop one").ok
    assert fresh.run("held.fetch()").value() == "[1, 2]"
    again = fresh.remote("import os\nheld.append(3)\nos.getpid()", "T4 --session two")
    assert (again.value(), again.said.count("new container")) == (pid, 0)
    assert fresh.run("held.fetch()").value() == "[1, 2, 3]"
    assert fresh.remote("'a new container'", "T4 --session one").ok
    assert fresh.run("%modal_gpu stop").ok


@pytest.mark.parametrize("end", ["%modal_gpu stop one", "switch"])
def test_a_background_cell_of_another_session_goes_on(fresh: Kernel, tmp_path: Path, end: str) -> None:
    go = tmp_path / "go"
    assert fresh.remote("1", "T4 --session one").ok
    waits = f"import os, time\nwhile not os.path.exists({str(go)!r}):\n    time.sleep(0.01)\nslow = [os.getpid()]"
    assert fresh.remote(waits, "T4 --session two --bg waits").ok
    if end == "switch":
        assert fresh.remote("2", "L4 --session one").ok
    else:
        assert fresh.run(end).ok
    go.touch()
    assert fresh.run("waits.result()").ok
    assert fresh.remote("import os\nslow == [os.getpid()]", "T4 --session two").value() == "True"
    assert fresh.run("%modal_gpu stop").ok
