"""Saving and restoring in the container: interrupted, killed, without room, damaged; never a wrong value in silence."""

from __future__ import annotations

import gc
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modal_gpu_magic.container.state import last_save
from modal_gpu_magic.container.state.last_save import CLOSING
from modal_gpu_magic.container.state.namespace import NamespaceSync
from modal_gpu_magic.container.state.restoring import Plan
from modal_gpu_magic.container.state.saved_session import Options, SavedSession
from modal_gpu_magic.container.state.saving import Interrupted, Moment
from modal_gpu_magic.container.state.session_mount import SessionVolume
from modal_gpu_magic.wire.messages.events import RunTrace
from modal_gpu_magic.wire.saved.places import MANIFEST
from modal_gpu_magic.wire.saved.reading import SavedState
from tests.session.two_memories import new_namespace

NEVER = 1e9
"""Seconds that do not pass: the test saves by itself."""
MB = 1_000_000


class Container:
    """The namespace of a container, and its saved state in a directory."""

    def __init__(
        self, directory: Path, seconds: float = NEVER, owner: str = "one", limit: int = 10**12, claim: str = ""
    ) -> None:
        self.namespace = new_namespace()
        self.sync = NamespaceSync(self.namespace, dict(self.namespace))
        moment = Moment("g", python="3", claim=claim)
        self.saved = SavedSession(directory, owner, self.sync, lambda: moment, seconds)
        self.saved.options(Options(limit))
        self.runs = 0

    def run(self, source: str) -> None:
        """Run a cell."""
        with self.saved.busy():
            self.runs += 1
            self.saved.ran(str(self.runs))
            exec(source, self.namespace)

    def restored(self, directory: Path, run: str) -> SavedSession:
        """Restore all names as the next container, after a run."""
        plan = self.saved.plan("g", (RunTrace(run),), (), "3")
        assert isinstance(plan, Plan), plan
        self.saved.take(plan)
        self.saved.restore(plan.state.names)
        return self.saved


SHARED = (
    "[1]", "{1: 2}", "{1}", "bytearray(b'ab')", "bytearray(100_000)", "object()", "__import__('array').array('i', [1])",
    "__import__('io').BytesIO(b'a')", "__import__('io').StringIO('a')", "__import__('collections').deque([1])",
    "__import__('collections').Counter('a')", "__import__('numpy').zeros(3)", "__import__('numpy').zeros(20_000)",
    "__import__('torch').zeros(3)", "__import__('torch').nn.Linear(2, 2)", "__import__('pandas').DataFrame({'a': [1]})",
    "__import__('numpy').random.default_rng(1)", "__import__('random').Random(1)", "ValueError('a')",
    "type('K', (), {})", "type('K', (), {})()", "(lambda x=[]: x)", "iter([1, 2])",
    "__import__('types').SimpleNamespace(a=1)", "(1, [2])", "__import__('decimal').Decimal(1)",
    "__import__('datetime').datetime(2020, 1, 1)", "__import__('fractions').Fraction(1, 2)",
    "__import__('functools').partial(max, 1)", "__import__('threading').local" , "[].append",
    "__import__('pathlib').Path('a')", "__import__('uuid').UUID(int=1)", "__import__('re').compile('a')",
)  # fmt: skip


@pytest.mark.parametrize("made", SHARED)
def test_an_object_that_two_names_share_is_one_object_in_the_next_container(tmp_path: Path, made: str) -> None:
    container = Container(tmp_path)
    container.run(f"one = {made}\ntwo = {{'a': [one]}}\nthree = (one,)")
    container.saved.save_now()
    other = Container(tmp_path, owner="two")
    other.restored(tmp_path, "1")
    one = other.namespace["one"]
    assert other.namespace["two"]["a"][0] is one
    assert other.namespace["three"][0] is one


@pytest.mark.parametrize(("claim", "continues"), [("a", True), ("b", False), ("", False)])
def test_a_state_of_another_claim_has_the_values_and_knows_no_object(
    tmp_path: Path, claim: str, continues: bool
) -> None:
    container = Container(tmp_path, claim="a")
    container.run("x = [1]")
    container.saved.save_now()
    plan = Container(tmp_path, owner="two").saved.plan("g", (RunTrace("1"),), (), "3", claim)
    assert isinstance(plan, Plan)
    assert (plan.continues, plan.changed, plan.state.names) == (continues, frozenset(), ("x",))


class TestTheSaveAtTheEndOfAContainer:
    """The next container may begin while the former one saves; it waits for what it needs."""

    @pytest.fixture
    def ending(self, tmp_path: Path) -> Iterator[Callable[[], None]]:
        """A container that saves run 2 at its end, and gets no further until the returned function is called."""
        container = Container(tmp_path)
        container.run("x = [1]")
        container.saved.save_now()
        began, may_go_on = threading.Event(), threading.Event()

        class Slow:
            def __reduce__(self) -> Any:
                began.set()
                assert may_go_on.wait(90)
                return int, (7,)

        container.namespace["slow"] = Slow()
        container.run("x.append(2)\ny = slow")
        saving = threading.Thread(target=container.saved.save_at_end)
        saving.start()
        assert began.wait(90)
        yield may_go_on.set
        may_go_on.set()
        saving.join()

    @staticmethod
    def next_container(directory: Path, reload: Callable[[], None]) -> SavedSession:
        saved = Container(directory, owner="two").saved
        saved.options(Options(10**12, SessionVolume(reload=reload)))
        return saved

    def test_a_container_that_needs_the_state_waits_for_it(self, tmp_path: Path, ending: Callable[[], None]) -> None:
        plan = self.next_container(tmp_path, ending).plan("g", (RunTrace("1"), RunTrace("2")), (), "3")
        assert isinstance(plan, Plan)
        assert (plan.state.run, plan.continues) == ("2", True)

    def test_a_container_that_restores_whatever_is_saved_waits(
        self, tmp_path: Path, ending: Callable[[], None]
    ) -> None:
        plan = self.next_container(tmp_path, ending).plan_any("3")
        assert isinstance(plan, Plan)
        assert plan.state.run == "2"

    def test_a_container_that_needs_another_state_does_not_wait(
        self, tmp_path: Path, ending: Callable[[], None]
    ) -> None:
        asked: list[str] = []
        plan = self.next_container(tmp_path, lambda: asked.append("reload")).plan("g", (RunTrace("1"),), (), "3")
        assert isinstance(plan, Plan)
        assert (plan.state.run, asked) == ("1", [])

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"run": "2", "until": "x"}', '{"run": "2", "until": 1.0}'])
    def test_a_damaged_or_old_announcement_is_ignored(self, tmp_path: Path, content: str) -> None:
        container = Container(tmp_path)
        container.run("x = [1]")
        container.saved.save_now()
        (tmp_path / CLOSING).write_text(content)
        asked: list[str] = []
        plan = self.next_container(tmp_path, lambda: asked.append("reload")).plan(
            "g", (RunTrace("1"), RunTrace("2")), (), "3"
        )
        assert isinstance(plan, Plan)
        assert (plan.state.run, asked) == ("1", [])

    def test_a_container_that_was_killed_while_it_saved_is_waited_for_no_longer_than_announced(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        container = Container(tmp_path)
        container.run("x = [1]")
        container.saved.save_now()
        monkeypatch.setattr(last_save, "SECONDS", 0.2)
        with last_save.announced(tmp_path, "2", lambda: None):
            plan = self.next_container(tmp_path, lambda: None).plan("g", (RunTrace("1"), RunTrace("2")), (), "3")
        assert isinstance(plan, Plan)
        assert plan.state.run == "1"

    def test_the_former_container_does_not_write_over_the_state_of_the_next_one(
        self, tmp_path: Path, ending: Callable[[], None]
    ) -> None:
        other = Container(tmp_path, owner="two")
        other.runs = 5
        other.run("z = [6]")
        other.saved.save_now()
        ending()
        assert loaded(tmp_path) == {"z": [6]}


def opened(directory: Path) -> SavedState | None:
    return SavedState.open_at(lambda path: (directory / path).read_bytes())


def loaded(directory: Path) -> dict[str, Any]:
    state = opened(directory)
    assert state is not None
    found = state.load(state.names, new_namespace())
    assert not found.failed
    return found.values


def wait_until(holds: Any, seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_cell_interrupts_a_save(tmp_path: Path) -> None:
    """Values of 400 MB: a cell comes while they are written, and the state of the save before stays."""
    container = Container(tmp_path, seconds=0.0)
    container.run("small = 1")
    wait_until(lambda: opened(tmp_path) is not None)
    container.run("import numpy as np\nlarge = [np.full(5_000_000, i, float) for i in range(10)]")
    for number in range(8):
        wait_until(lambda: any((tmp_path / "buffers").glob(".*")) or "large" in opened(tmp_path).names)  # type: ignore[union-attr]
        container.run(f"small = {number}; large[0][0] = {number}")
        state = opened(tmp_path)
        assert state is not None
    wait_until(lambda: container.saved.saved_run == str(container.runs))
    values = loaded(tmp_path)
    assert (values["small"], values["large"][0][0], values["large"][9][0]) == (7, 7.0, 9.0)
    assert not list(tmp_path.glob("*/.*"))


def test_a_cell_waits_until_a_few_megabytes_are_read_or_written_and_no_longer(tmp_path: Path) -> None:
    """A save looks at each of its steps whether a cell waits."""
    container = Container(tmp_path)
    container.run("import numpy as np\nlarge = [np.full(5_000_000, i, float) for i in range(3)]")
    written = [0]

    def check() -> None:
        written.append(sum(path.stat().st_size for path in tmp_path.glob("*/*")))

    container.saved._save(check)
    assert len(written) > 3 * 40 / 8
    assert max(later - sooner for sooner, later in itertools.pairwise(written)) <= 8 * MB


def test_a_save_that_is_not_interrupted_is_seen_by_the_next_container(tmp_path: Path) -> None:
    container = Container(tmp_path)
    container.run("import numpy as np\na = np.arange(9); b = {'a': a}")
    assert container.saved.save_now() == {}
    other = Container(tmp_path, owner="two")
    other.restored(tmp_path, "1")
    assert other.namespace["b"]["a"] is other.namespace["a"]


def test_values_die_with_their_last_name_after_a_save_and_after_an_interrupted_one(tmp_path: Path) -> None:
    container = Container(tmp_path)
    container.run(
        "import numpy as np\nclass Own: pass\nown = Own(); own.big = np.ones(300_000)\nmany = [np.ones(300_000), own]"
    )
    several = [weakref.ref(container.namespace["own"]), weakref.ref(container.namespace["many"][0])]
    gc.collect()
    gc.disable()
    try:
        container.saved.save_now()
        container.saved.ran("2")
        checks = itertools.count()

        def check() -> None:
            if next(checks) == 3:
                raise Interrupted

        with pytest.raises(Interrupted):
            container.saved._save(check)
        container.run("del own, many")
        assert [each() for each in several] == [None, None]
    finally:
        gc.enable()


def test_saving_changes_no_token(tmp_path: Path) -> None:
    container = Container(tmp_path)
    container.run("a = [1]; b = [a]")
    container.saved.save_now()
    assert len(container.sync.table) == 0
    assert container.sync.table.transfers == 0


def test_a_value_whose_code_takes_long_is_not_pickled_beside_a_cell(tmp_path: Path) -> None:
    """User code of a save and of a cell never overlap."""
    container = Container(tmp_path, seconds=0.0)
    events: list[str] = []
    container.namespace["events"] = events
    container.run(
        "import time\n"
        "class Slow:\n"
        "    def __reduce__(self):\n"
        "        events.append('save begins'); time.sleep(0.05); events.append('save ends')\n"
        "        return Slow, ()\n"
        "slow = Slow()"
    )
    for _ in range(5):
        wait_until(lambda: "save begins" in events)
        container.run("events.append('cell'); time.sleep(0.02); events.append('cell ends')")
    assert all(
        one.replace("begins", "ends") == other for one, other in itertools.pairwise(events) if one == "save begins"
    )


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "a byte": lambda content: (
        content[: len(content) // 2] + bytes([content[len(content) // 2] ^ 1]) + content[len(content) // 2 + 1 :]
    ),
    "cut": lambda content: content[:-1],
    "empty": lambda _: b"",
    "longer": lambda content: content + b"x",
    "other": lambda _: b"nothing of the kind",
}


@pytest.mark.parametrize("damage", [*DAMAGES, "missing"])
def test_each_damaged_file_costs_its_values_and_no_others(damage: str, tmp_path: Path) -> None:
    container = Container(tmp_path)
    container.run(
        "import numpy as np\na = np.arange(50_000.0); b = np.ones(50_000); c = list(range(100)); d = {'c': c}\n"
        "def f(x): return x + 1"
    )
    assert container.saved.save_now() == {}
    expected = dict(container.namespace)
    for file in sorted(path for path in tmp_path.glob("*/*")):
        whole = file.read_bytes()
        file.unlink() if damage == "missing" else file.write_bytes(DAMAGES[damage](whole))
        other = Container(tmp_path, owner="two")
        other.restored(tmp_path, "1")
        for name in ("a", "b", "c", "d", "f"):
            if name in other.sync.unloaded.lost:
                assert name not in other.namespace
                assert "saved file is" in other.sync.unloaded.lost[name]
            elif name == "f":
                assert other.namespace["f"](1) == 2
            else:
                assert np.array_equal(other.namespace[name], expected[name]) or other.namespace[name] == expected[name]
        assert 1 <= len({"a", "b", "c", "d", "f", "np"} & other.sync.unloaded.lost.keys()) <= 2, file
        file.write_bytes(whole)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_manifest_is_no_state(damage: str, tmp_path: Path) -> None:
    container = Container(tmp_path)
    container.run("a = 1")
    container.saved.save_now()
    file = tmp_path / MANIFEST
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    why = Container(tmp_path, owner="two").saved.plan("g", (RunTrace("1"),), (), "3")
    assert isinstance(why, str)
    assert "cannot be read" in why


def test_another_container_that_has_begun_keeps_an_old_one_from_saving(tmp_path: Path) -> None:
    old, new = Container(tmp_path), Container(tmp_path, owner="two")
    old.run("a = 1")
    old.saved.options(Options(10**9))
    new.saved.options(Options(10**9))
    (tmp_path / "owner").write_text("two")
    new.run("a = 2")
    new.saved.save_now()
    old.saved.save_now()
    assert loaded(tmp_path)["a"] == 2


ENDLESS = """
import sys, time
from pathlib import Path
from tests.container.state.test_saved_session import Container
container = Container(Path(sys.argv[1]))
container.run("import numpy as np")
print("ready", flush=True)
for number in range(10_000):
    container.run(f"n = {number}; arrays = [np.full(200_000, {number} + i) for i in range(4)]; d = {{'n': n, 'a': arrays[0]}}")
    container.saved.save_now()
"""


def started(source: str, *arguments: str) -> subprocess.Popen[bytes]:
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.Popen([sys.executable, "-c", source, *arguments], stdout=subprocess.PIPE, env=environ)


def test_a_container_that_is_killed_while_it_saves_leaves_a_whole_state(tmp_path: Path) -> None:
    choose = random.Random(5)
    for attempt in range(4):
        directory = tmp_path / str(attempt)
        with started(ENDLESS, str(directory)) as process:
            assert process.stdout is not None
            process.stdout.readline()
            wait_until(lambda at=directory: (at / MANIFEST).exists())
            time.sleep(choose.random() * 0.3)
            process.send_signal(signal.SIGKILL)
            process.wait()
        values = loaded(directory)
        assert values["d"]["a"] is values["arrays"][0]
        assert values["d"]["n"] == values["n"]
        assert [int(each[0]) for each in values["arrays"]] == [values["n"] + i for i in range(4)]
        after = Container(directory, owner="after")
        after.run("b = 1")
        after.saved.save_now()
        assert list(directory.glob("buffers/[!.]*")) == [], "an unfinished file is younger than a save may take"


FULL = """
import resource, sys
from pathlib import Path
from tests.container.state.test_saved_session import Container
container = Container(Path(sys.argv[1]))
container.run("import numpy as np; a = np.ones(100_000)")
container.saved.save_now()
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))
container.run("b = np.ones(1_000_000); a[0] = 2")
print(container.saved.save_now(), container.saved.take_news(), container.saved.saved_run)
"""


def test_without_room_the_state_of_the_save_before_stays_and_a_sentence_says_so(tmp_path: Path) -> None:
    with started(FULL, str(tmp_path)) as process:
        assert process.stdout is not None
        said = process.stdout.read().decode()
    assert said == "None ['The session was not saved: File too large.'] 1\n"
    assert loaded(tmp_path)["a"][0] == 1.0
    assert not list(tmp_path.glob("*/.*"))


def test_a_large_value_is_loaded_between_cells_and_never_half(tmp_path: Path) -> None:
    container = Container(tmp_path)
    container.run("import numpy as np\nlarge = [np.full(2_000_000, i) for i in range(10)]; small = 1")
    container.saved.save_now()
    other = Container(tmp_path, owner="two")
    plan = other.saved.plan("g", (RunTrace("1"),), (), "3")
    assert isinstance(plan, Plan)
    other.saved.take(plan)
    other.saved.restore(("small",))
    assert other.namespace["small"] == 1
    assert "large" not in other.namespace
    assert "large" in other.sync.names
    for _ in range(30):
        other.run("seen = 'large' in globals() and [int(each[0]) for each in large]")
        assert other.namespace["seen"] in (False, list(range(10)))
        if other.namespace["seen"]:
            break
    wait_until(lambda: "large" in other.namespace)


def test_the_reason_of_a_loss_outlives_two_containers(tmp_path: Path) -> None:
    container = Container(tmp_path)
    container.run("import threading\na = threading.Lock(); b = 1")
    container.saved.save_now()
    assert container.saved.take_news() == ["Not saved, so lost if the container ends: `a`: locks cannot be pickled."]
    for owner, run in (("two", "1"), ("three", "2")):
        container = Container(tmp_path, owner=owner)
        container.restored(tmp_path, run)
        container.runs = int(run)
        container.run("b += 1")
        container.saved.save_now()
        assert container.saved.take_news() == []
        assert container.sync.unloaded.why_unbound("a") == "it was not saved: locks cannot be pickled"
    assert container.namespace["b"] == 3
