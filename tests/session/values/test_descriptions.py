"""A remote value shows what is in the container now, not what was there when the value stayed."""

from __future__ import annotations

from typing import Any

import pytest

from modal_gpu_magic.container.state import descriptions
from modal_gpu_magic.container.state.cell_values import OutgoingValues
from modal_gpu_magic.container.state.namespace import NamespaceSync
from modal_gpu_magic.wire.inspection.summary import bundle, summary
from modal_gpu_magic.wire.values.remote import RemoteValue, facts
from tests.session.two_memories import TwoMemories

BIG = "list(range(500))"
FRAME = "import pandas as pd; df = pd.DataFrame({'a': range(500)})"

CHANGED = {
    "a list that grows": [f"z = {BIG}", "z.append(1)"],
    "a list that is emptied stays, and says so": [f"z = {BIG}", "z.clear()"],
    "an item": [f"z = {BIG}", "z[0] = 'other'"],
    "by another name": [f"z = {BIG}", "y = z", "y.append(1)"],
    "a second name is described as well": [f"z = {BIG}; y = z", "z.append(1)"],
    "by a function that reads the name": [f"z = {BIG}", "def add(): z.append(1)", "add()"],
    "by a loop over its items": [f"z = [{BIG}, [1], [2]]", "for each in z[1:]: each.append(3)"],
    "inside of a tuple": [f"z = ([1], {BIG})", "z[0].append(2)"],
    "a frame's cell": [FRAME, "df.loc[0, 'a'] = 4321"],
    "a frame's column": [FRAME, "df['b'] = 1.5"],
    "a frame's rows": [FRAME, "df.loc[500] = 7"],
    "an array's item": ["import numpy as np; a = np.zeros(500)", "a[0] = 7"],
    "an array's shape": ["import numpy as np; a = np.zeros(500)", "a.resize((50, 10), refcheck=False)"],
    "a tensor's item": ["import torch; t = torch.zeros(500)", "t[0] = 7"],
    "a model's parameters": [
        "import torch; m = torch.nn.Linear(30, 30)",
        "m.add_module('more', type(m)(30, 1))",
    ],
    "a set, and twice": ["s = set(range(500))", "s.clear()", "s.add(1)"],
    "a value inside of another one": [f"d = {{'z': {BIG}}}", "z = d['z']", "d['z'].append(1)"],
    "a value around another one": [f"d = {{'z': {BIG}, 'y': [1]}}", f"z = [d['y'], {BIG}]", "z[0].append(2)"],
    "a value around one that comes home": [f"z = [1]; d = [z, {BIG}]", "z.append(2)"],
    "a dict": [f"d = dict.fromkeys({BIG})", "d['x'] = 1"],
}


@pytest.mark.parametrize("cells", CHANGED.values(), ids=CHANGED)
def test_what_a_later_cell_changed_is_shown(cells: list[str]) -> None:
    notebook = TwoMemories(300)
    notebook.remote(cells[0])
    first = {name: facts(value) for name, value in _remote(notebook).items()}
    assert first
    for cell in cells[1:]:
        notebook.remote(cell)
        for name, value in _remote(notebook).items():
            now = notebook.there[name]
            assert (facts(value).summary, facts(value).bundle) == (summary(now), bundle(now)), cell
    assert any(facts(value) != first.get(name) for name, value in _remote(notebook).items())


def test_the_same_remote_value_is_described_wherever_the_notebook_keeps_it() -> None:
    notebook = TwoMemories(300)
    notebook.remote(f"z = {BIG}")
    notebook.here["kept"] = value = notebook.here["z"]
    notebook.remote("z.append(1)")
    assert notebook.here["z"] is notebook.here["kept"] is value
    assert facts(value).summary == "list of 501"
    assert "over --fetch" in facts(value).why


def test_a_value_that_did_not_change_is_not_described_again(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = TwoMemories(300)
    notebook.remote(f"z = {BIG}; y = {BIG}")
    described: list[list[str]] = []
    leave = NamespaceSync.leave

    def noted(*arguments: Any) -> OutgoingValues:
        leaving = leave(*arguments)
        described.append([each.name for each in leaving.redescribed])
        return leaving

    monkeypatch.setattr(NamespaceSync, "leave", noted)
    notebook.remote("n = len(z)")
    notebook.remote("y.append(len(z))")
    assert described == [[], ["y"]]


@pytest.mark.parametrize("value", ["T()", "[[T()], 1]", "{'k': T()}"])
def test_a_repr_of_the_notebook_is_called_once(value: str) -> None:
    notebook = TwoMemories(300)
    notebook.remote(
        "class T:\n    shown, x = 0, [1]\n    def __repr__(self): type(self).shown += 1; return 'a T'\n"
        f"    def __reduce__(self): raise TypeError('never')\nt = {value}"
    )
    assert "a T" in facts(notebook.here["t"]).bundle["text/plain"]
    shown = notebook.there["T"].shown
    notebook.remote("T.x.append(2); n = type(t)")
    notebook.remote("n = str(type(t))")
    assert notebook.there["T"].shown == shown
    assert "text/plain" not in facts(notebook.here["t"]).bundle


def test_a_value_that_displays_itself_is_not_displayed_by_its_description(monkeypatch: pytest.MonkeyPatch) -> None:
    class Figure:
        def _ipython_display_(self) -> None:
            raise AssertionError("displayed")

    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    monkeypatch.setattr("IPython.core.getipython.get_ipython", lambda: shell)
    assert "Figure" in bundle(Figure())["text/plain"]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine describes values again, however long that takes."""
    monkeypatch.setattr(descriptions, "DESCRIBE_SECONDS", 600.0)


SLOW = """
class Slow(list):
    made = 0
    def __repr__(self):
        import time
        Slow.made += 1
        time.sleep(0.02)
        return f"Slow of {len(self)}"
    def __reduce__(self): raise TypeError("never")
z = Slow([1])
"""


def test_a_slow_repr_is_not_made_after_each_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was shown is old then: the value is shown without a description."""
    monkeypatch.setattr(descriptions, "DESCRIBE_SECONDS", 0.01)
    notebook = TwoMemories(300)
    notebook.remote(SLOW)
    assert facts(notebook.here["z"]).bundle["text/plain"] == "Slow of 1"
    made = notebook.there["Slow"].made
    notebook.remote("z.append(2)")
    assert notebook.there["Slow"].made == made
    assert repr(notebook.here["z"]).startswith("<remote Slow · session s")
    assert "text/plain" not in facts(notebook.here["z"]).bundle


def test_a_notebooks_own_value_that_the_container_changed_is_not_described_by_its_old_content() -> None:
    notebook = TwoMemories(300)
    notebook.native(f"a = [1]; b = [a, {BIG}]")
    notebook.remote("a.append(2); a.extend(range(500))")
    assert type(notebook.here["a"]) is type(notebook.here["b"]) is RemoteValue
    assert "list of 1 " not in f"{notebook.here['a']!r} "


def _remote(notebook: TwoMemories) -> dict[str, RemoteValue]:
    """The remote values of a notebook whose own values are not behind them."""
    covers = notebook.kernel.covers
    found = {name: value for name, value in notebook.here.items() if type(value) is RemoteValue}
    return {name: value for name, value in found.items() if not covers.is_covered(name)}
