"""What a child that multiprocessing spawns from a rank finds: the cell's definitions, and none of its running code."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.container.ranks import spawned
from modal_gpu_magic.wire.buffers.stores import SharedStore
from modal_gpu_magic.wire.transfer import pack

if TYPE_CHECKING:
    from pathlib import Path

CELL = """
import math, missing_module
from os import path
BATCH, NAMES = 4 * 32, ["a", sent]
size = len(NAMES)
class Net(Base): pass
class Plain:
    batch = BATCH
@decorate
def lost(): return 1
def double(x): return 2 * x * math.pi
print("runs")
if True:
    inner = 1
for i in range(3): pass
"""


def test_what_defines() -> None:
    kept = [ast.unparse(statement).split("\n")[0] for statement in spawned.definitions(CELL)]
    assert kept == [
        "import math, missing_module",
        "from os import path",
        "BATCH, NAMES = (4 * 32, ['a', sent])",
        "class Net(Base):",
        "class Plain:",
        "@decorate",
        "def double(x):",
    ]


def test_text_that_is_no_python_defines_nothing() -> None:
    assert spawned.definitions("what is this") == []


def test_the_main_of_a_child(tmp_path: Path, capsys: Any) -> None:
    """Values and definitions are there, those that need the running cell are not, and nothing has run."""
    notebook: dict[str, Any] = {"__name__": "__main__", "sent": "b", "factor": 3}
    exec("def triple(x): return factor * x\nclass Point: pass", notebook)
    values = {name: notebook[name] for name in ("sent", "factor", "triple")} | {"point": notebook["Point"]()}
    main = spawned.write(tmp_path, pack(values, notebook, SharedStore(tmp_path)), CELL)
    child: dict[str, Any] = {"__name__": "__mp_main__"}
    exec(compile(main.read_text(), str(main), "exec"), child)
    assert (child["NAMES"], child["Plain"].batch, child["triple"](5)) == (["a", "b"], 128, 15)
    assert type(child["point"]) is child["Point"]
    assert {"Net", "lost", "size", "inner", "i"}.isdisjoint(child)
    assert capsys.readouterr().out == ""
