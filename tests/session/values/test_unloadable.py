"""Values that the kernel cannot load: each stays alone, and what it shares with others is one object on both sides."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

from modal_gpu_magic.wire.values.remote import RemoteValue, facts
from tests.session.two_memories import TwoMemories

if TYPE_CHECKING:
    from collections.abc import Iterator

LATE = """
class Late:
    def __init__(self, part): self.part = part
    def __setstate__(self, state): raise RAISED
"""
HASTY = """
def fails(*_): raise RAISED
class Late:
    def __init__(self, part): self.part = part
    def __reduce__(self): return fails, (self.part,)
"""
DOTTED = """
class Meta(type):
    def __getattr__(cls, name): return 5
class Base(metaclass=Meta): pass
class Late(Base):
    def __init__(self, part): self.part = part
    def __setstate__(self, state): raise RAISED
"""
WHY = {
    "ValueError('no')": "could not be loaded (ValueError: no)",
    "SystemExit(1)": "could not be loaded (SystemExit: 1)",
}


@pytest.fixture(params=[False, True], ids=["seldom", "always"])
def collects(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Whether Python looks for garbage at each object."""
    before = gc.get_threshold()
    if request.param:
        gc.set_threshold(1)
    yield request.param
    gc.set_threshold(*before)


@pytest.mark.parametrize("raised", WHY)
@pytest.mark.parametrize("kind", [LATE, HASTY, DOTTED], ids=["setstate", "function", "metaclass"])
@pytest.mark.usefixtures("collects")
def test_a_value_that_cannot_be_loaded_stays_alone(kind: str, raised: str) -> None:
    notebook = TwoMemories()
    here = notebook.here
    notebook.remote(kind.replace("RAISED", raised))
    notebook.remote("shared = [1]\nlate = Late(shared)\nheld = {'late': late, 'it': shared}\nfree = (shared, 'x')")
    assert {name for name, value in here.items() if type(value) is RemoteValue} == {"late", "held"}
    assert facts(here["late"]).why == WHY[raised]
    assert here["free"][0] is here["shared"]
    notebook.native("shared.append(2)")
    notebook.remote("count = len(late.part)")
    assert here["count"] == 2
    notebook.remote("late.part.append(3)")
    assert here["shared"] == [1, 2, 3]
    notebook.remote("both = [late, shared]\nalone = [count]")
    assert type(here["both"]) is RemoteValue
    notebook.remote("alone.append(free[1])\nshared.append(len(both))")
    assert (here["alone"], here["free"][0]) == ([2, "x"], [1, 2, 3, 2])


@pytest.mark.usefixtures("collects")
def test_a_cycle_through_a_value_that_cannot_be_loaded() -> None:
    notebook = TwoMemories()
    notebook.remote(LATE.replace("RAISED", "ValueError('no')"))
    notebook.remote("ring = []\nlate = Late(ring)\nring.append((late,))\ninner = [1]\nring.append(inner)")
    here = notebook.here
    assert type(here["ring"]) is type(here["late"]) is RemoteValue
    notebook.native("inner.append(2)")
    notebook.remote("late.part[1].append(len(ring))")
    assert here["inner"] == [1, 2, 2]


@pytest.mark.usefixtures("collects")
def test_an_object_of_the_kernel_that_gets_such_a_part() -> None:
    """The kernel's own object keeps its content, and its names are remote values: the content is in the container."""
    notebook = TwoMemories()
    here = notebook.here
    notebook.native("rows = [1]\nother = (rows,)")
    notebook.remote(LATE.replace("RAISED", "ValueError('no')"))
    notebook.remote("rows.append(Late(5))")
    assert {name for name, value in here.items() if type(value) is RemoteValue} == {"rows", "other"}
    notebook.remote("del rows[1]\nrows.append(2)\nfree = 1")
    notebook.fetch_all()
    assert here["rows"] == [1, 2]


@pytest.mark.usefixtures("collects")
def test_a_class_of_the_kernel_keeps_its_attributes() -> None:
    notebook = TwoMemories()
    here = notebook.here
    notebook.remote(LATE.replace("RAISED", "ValueError('no')"))
    notebook.remote("class Config:\n    part = 1\nconfig = Config()")
    kept = here["config"]
    notebook.remote("Config.part = Late(1)\nplain = 2")
    assert here["plain"] == 2
    assert type(kept).__name__ == "Config"
    notebook.remote("Config.part = 3")
    assert here["Config"].part == 3
