"""Items of a process's state: compared, encoded, written; what cannot be written here; what waits for an import."""

# ruff: noqa: NPY002 - the legacy generator is the subject

from __future__ import annotations

import pickle
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modal_gpu_magic.wire.process.generators import GENERATORS
from modal_gpu_magic.wire.process.interpreter import ImportPath, follows
from modal_gpu_magic.wire.process.process_state import Pickled, Process, State, States, difference, encoded, settings

ROOT = Path(__file__).parents[3]


def run(source: str, *paths: Path) -> str:
    """What a fresh Python prints."""
    code = f"import sys; sys.path[:0] = {[str(ROOT), *map(str, paths)]!r}\n{textwrap.dedent(source)}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_only_what_is_new_or_other_is_a_difference() -> None:
    before: States = {"a": {"x": 1, "y": 2}}
    after: States = {"a": {"x": 1, "y": 3}, "b": {"": (1,)}, "c": {}}
    assert difference(before, after) == {"a": {"y": 3}, "b": {"": (1,)}}
    assert difference({"a": {"x": 1}}, {"a": {"x": True}}) == {"a": {"x": True}}
    assert difference({"a": {"x": np.ones(2)}}, {"a": {"x": np.ones(2)}})["a"]["x"].size == 2


def test_what_is_no_plain_data_is_pickled_and_what_does_not_pickle_is_left_out() -> None:
    coded = encoded(
        {"s": {"plain": (1, ["a", {"b": None}]), "function": lambda x: x + 1, "lock": sys.stdout, "m": iter}}
    )
    assert set(coded["s"]) >= {"plain", "function", "m"}
    assert type(coded["s"]["function"]) is Pickled
    assert pickle.loads(coded["s"]["function"].pickle)(1) == 2
    assert encoded({"s": {"frame": sys._getframe()}}) == {}


def test_an_item_that_cannot_be_written_here_is_passed_on() -> None:
    values: dict[str, Any] = {"known": 0}

    def write(key: str, value: Any) -> None:
        if key not in values:
            raise KeyError(key)
        values[key] = value

    state = settings("options", lambda: dict(values), write, lambda: {"known": 0})
    process = Process((state,))
    assert process.read({}) == {}
    process.write({"options": {"known": 1, "of another version": 2}, "no such state": {"": 1}})
    assert process.read({}) == {"options": {"known": 1, "of another version": 2}}
    values["of another version"] = 0
    process.write({"options": {"of another version": 3}})
    assert values["of another version"] == 3
    assert process.held == {"options": {}}


def test_items_that_have_their_default_again_are_read_where_they_are_asked_for() -> None:
    values = {"a": 1, "b": 2}
    state = settings("s", lambda: dict(values), values.__setitem__, lambda: {"a": 1, "b": 2})
    assert Process((state,)).read({"s": {"a": 5}}) == {"s": {"a": 1}}


def test_items_wait_for_an_import(tmp_path: Path) -> None:
    (tmp_path / "mgt_late").mkdir()
    (tmp_path / "mgt_late" / "__init__.py").write_text("OPTION = 0\nfrom . import inner\nSEEN = OPTION\n")
    (tmp_path / "mgt_late" / "inner.py").write_text("from modal_gpu_magic.wire.process import import_hook\n")
    (tmp_path / "mgt_late" / "data.txt").write_text("data")
    printed = run(
        """
        import importlib.resources, inspect
        from modal_gpu_magic.wire.process.process_state import Process, State
        def read(keys): return {"": sys.modules["mgt_late"].OPTION}
        def write(key, value): sys.modules["mgt_late"].OPTION = value
        process = Process((State("late", read, write, "mgt_late"),))
        print(process.read({}))
        process.write({"late": {"": 7}})
        print(process.read({}), "mgt_late" in sys.modules, len(sys.meta_path))
        import mgt_late
        print(mgt_late.OPTION, mgt_late.SEEN, process.read({}), process.waiting, len(sys.meta_path))
        print(type(mgt_late.__spec__.loader).__name__, vars(mgt_late.__spec__.loader).keys() & {"exec_module"})
        print((importlib.resources.files("mgt_late") / "data.txt").read_text(), "OPTION" in inspect.getsource(mgt_late))
        process.write({"late": {"": 8}})
        print(mgt_late.OPTION)
        """,
        tmp_path,
    )
    before, waits, after, loader, data, last = printed.splitlines()
    count = int(after.split()[-1])
    assert (before, waits) == ("{}", f"{{'late': {{'': 7}}}} False {count + 1}")
    assert after == f"7 0 {{'late': {{'': 7}}}} {{}} {count}"
    assert (loader, data, last) == ("SourceFileLoader set()", "data True", "8")


def test_an_import_that_fails_once_leaves_the_items_waiting(tmp_path: Path) -> None:
    (tmp_path / "mgt_frail.py").write_text("import os\nif 'MGT_FAIL' in os.environ: raise ImportError('no')\nX = 0\n")
    printed = run(
        """
        import os
        from modal_gpu_magic.wire.process.process_state import Process, State
        def write(key, value): sys.modules["mgt_frail"].X = value
        process = Process((State("frail", lambda keys: {}, write, "mgt_frail"),))
        process.write({"frail": {"": 7}})
        os.environ["MGT_FAIL"] = "1"
        try:
            import mgt_frail
        except ImportError as error:
            print(error)
        del os.environ["MGT_FAIL"]
        import mgt_frail
        print(mgt_frail.X)
        """,
        tmp_path,
    )
    assert printed == "no\n7\n"


def test_a_module_that_does_not_exist_is_no_error_of_ours() -> None:
    printed = run(
        """
        from modal_gpu_magic.wire.process.import_hook import ImportWatch
        ImportWatch().watch("mgt_none", lambda: print("never"))
        try:
            import mgt_none
        except ModuleNotFoundError as error:
            print(error)
        """
    )
    assert printed == "No module named 'mgt_none'\n"


def test_no_library_is_imported_to_read_its_state() -> None:
    printed = run(
        """
        from modal_gpu_magic.wire.process.state_table import own_states
        found = own_states().process.read({})
        print(sorted(found), [m for m in ("numpy", "torch", "pandas", "matplotlib", "cloudpickle") if m in sys.modules])
        """
    )
    assert printed == "['random', 'warnings'] []\n"


def named(name: str) -> State:
    """One of the generators."""
    return next(state for state in GENERATORS if state.name == name)


def test_numbers_of_numpy_with_one_kept_for_the_next_randn() -> None:
    state, kept = named("numpy.random"), np.random.get_state()
    try:
        np.random.seed(0)
        for _ in range(5):
            items = state.read(())
            expected = np.random.randn(), np.random.rand(), np.random.randn()
            np.random.seed(99)
            state.read(())
            state.write("", items[""])
            assert (np.random.randn(), np.random.rand(), np.random.randn()) == expected
            np.random.randn()
    finally:
        np.random.set_state(kept)


def test_another_generator_in_the_place_of_numpys_stays(tmp_path: Path) -> None:
    printed = run(
        """
        import numpy as np
        from modal_gpu_magic.wire.process.generators import GENERATORS
        state = next(each for each in GENERATORS if each.name == "numpy.random")
        np.random.set_bit_generator(np.random.PCG64(1))
        print(state.read(()))
        """
    )
    assert printed == "{}\n"


def test_the_import_path_has_folders_before_and_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["", "/lib/python", "/lib/site-packages"])
    path = ImportPath(tmp_path, [*sys.path, "../relative"])
    state = path.state
    assert state.read(()) == {}
    sys.path.insert(0, str(tmp_path / "src"))
    sys.path.append("../relative")
    assert state.read(()) == {"": (("\0src",), ("../relative",))}
    state.write("", (("/new", "\0lib"), ()))
    assert sys.path == ["/new", str(tmp_path / "lib"), "", "/lib/python", "/lib/site-packages"]
    sys.path.insert(0, "/of/ours")
    path.settle({"/new", "\0lib"})
    assert state.read(())[""][0] == ("/new", "\0lib")
    state.write("", ((), ()))
    assert sys.path == ["/of/ours", "", "/lib/python", "/lib/site-packages"]


@pytest.mark.parametrize("name", ["WANDB_MODE", "OMP_NUM_THREADS", "HF_HOME", "CUDA_LAUNCH_BLOCKING"])
def test_variables_that_follow(name: str) -> None:
    assert follows(name)


@pytest.mark.parametrize(
    "name", ["PATH", "HOME", "CUDA_VISIBLE_DEVICES", "MODAL_TOKEN_ID", "RANK", "TERM", "JPY_PARENT_PID"]
)
def test_variables_of_one_machine_do_not_follow(name: str) -> None:
    assert not follows(name)


HANDLERS = """
import logging, sys
from modal_gpu_magic.wire.process.interpreter import INTERPRETER
loggers = next(each for each in INTERPRETER if each.name == "logging")
class Own(logging.Formatter):
    def format(self, record): return ">> " + record.getMessage()
class Coloured(logging.StreamHandler):
    pass
own = Coloured(sys.stdout)
own.setFormatter(Own("%(message)s!"))
log = logging.getLogger("mine")
log.setLevel(logging.INFO)
log.propagate = False
log.addHandler(own)
"""


def test_a_handler_of_another_class_is_described_as_a_plain_one_and_stays_as_it_is_here() -> None:
    """No message is lost on the other side, and what comes back replaces no handler that the user made."""
    found = run(f"""{HANDLERS}
described = loggers.read(())["mine"]
loggers.write("mine", (logging.DEBUG, *described[1:]))
log.info("native")
print(described[3], log.handlers == [own], log.level)
log.removeHandler(own)
loggers.write("mine", described)
log.info("remote")
""")
    assert found == ">> native\n(('stdout', 0, '%(message)s!', None, '%'),) True 10\nremote!\n"


def test_a_handler_that_is_added_elsewhere_is_added_here_beside_the_others() -> None:
    found = run(f"""{HANDLERS}
level, propagate, disabled, handlers = loggers.read(())["mine"]
loggers.write("mine", (level, propagate, disabled, (*handlers, ("stderr", 0, None, None, "%"))))
print(log.handlers[0] is own, len(log.handlers))
loggers.write("mine", (level, propagate, disabled, handlers[:0]))
print(log.handlers)
""")
    assert found == "True 2\n[]\n"
