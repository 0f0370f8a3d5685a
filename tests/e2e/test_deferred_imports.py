"""An import in a remote cell imports nothing in the kernel; a later cell on either side has the name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.kernel import Kernel

LOUD = (
    "print('loud is imported')\nLIMIT = 3\ndef double(x): return 2 * x\nclass Model:\n    def go(self): return LIMIT\n"
)


def loaded(kernel: Kernel, *modules: str) -> list[str]:
    """Those of the modules that the kernel's process has imported."""
    return [name for name in modules if kernel.print(f"{name!r} in __import__('sys').modules") == "True"]


def write(kernel: Kernel, name: str) -> None:
    (kernel.home / "work" / f"{name}.py").write_text(LOUD)


def test_a_remote_import_imports_nothing_here(kernel: Kernel) -> None:
    write(kernel, "loud_a")
    assert kernel.remote("import loud_a as la\nfrom loud_a import double as da").stdout == "loud is imported\n"
    assert loaded(kernel, "loud_a") == []
    assert kernel.remote("print(la.LIMIT, da(2))").stdout == "3 4\n"
    assert loaded(kernel, "loud_a") == []
    assert kernel.run("print(da(la.LIMIT))").stdout == "loud is imported\n6\n"
    assert kernel.remote("print(la.LIMIT, da(2))").stdout == "3 4\n"


def test_heavy_packages(kernel: Kernel) -> None:
    cell = "import torch\nfrom torch import nn\nfrom sklearn.svm import SVC as S\nimport xml.sax.saxutils\nprint(nn.Linear(1, 2))"
    assert kernel.remote(cell).ok
    assert loaded(kernel, "torch", "sklearn", "xml.sax.saxutils") == []
    assert kernel.remote("print(type(S()).__name__, torch.ones(2).sum().item())").stdout == "SVC 2.0\n"
    assert loaded(kernel, "torch", "sklearn") == []
    assert kernel.run("print(xml.sax.saxutils.escape('<'), S.__name__)").stdout == "&lt; SVC\n"
    assert loaded(kernel, "torch", "sklearn") == ["sklearn"]
    assert kernel.run("class Net(nn.Module): pass\nprint(isinstance(Net(), torch.nn.Module))").stdout == "True\n"


def test_a_new_container_has_the_names_without_an_import_here(kernel: Kernel) -> None:
    write(kernel, "loud_b")
    kernel.remote("import loud_b\nfrom loud_b import Model as B")
    kernel.run("%modal_gpu stop")
    assert kernel.remote("print(B().go(), loud_b.double(1))").stdout == "loud is imported\n3 2\n"
    assert loaded(kernel, "loud_b") == []


def test_a_native_binding_wins(kernel: Kernel) -> None:
    write(kernel, "loud_c")
    kernel.remote("import loud_c as c1, loud_c as c2, loud_c as c3")
    kernel.run("c1 = 5\nimport json as c2\ndel c3")
    assert kernel.remote("print(c1, c2.__name__, 'c3' in globals())").stdout == "5 json False\n"
    assert loaded(kernel, "loud_c") == []


def test_a_function_that_reads_the_name(kernel: Kernel) -> None:
    write(kernel, "loud_d")
    kernel.run("def use():\n    return loud_d.double(4)")
    kernel.remote("import loud_d")
    assert kernel.run("print(use())").stdout == "loud is imported\n8\n"


def test_data_imported_from_a_module_comes_home(kernel: Kernel) -> None:
    write(kernel, "loud_e")
    kernel.remote("from loud_e import LIMIT as limit")
    assert kernel.print("limit + 1") == "4"
    assert loaded(kernel, "loud_e") == []


def test_a_module_that_only_the_container_has(kernel: Kernel) -> None:
    kernel.remote(
        "import sys, types\nonly = sys.modules['only_there'] = types.ModuleType('only_there')\n"
        "only.f = len\nimport only_there as ot"
    )
    result = kernel.run("ot.f([1])")
    assert result.error.startswith("ModuleNotFoundError: No module named 'only_there'. A cell imported `ot`")
    assert kernel.remote("print(ot.f([1]))").stdout == "1\n"


def test_a_cell_that_fails_after_its_imports(kernel: Kernel) -> None:
    write(kernel, "loud_f")
    assert kernel.remote("import loud_f\n1 / 0").error.startswith("ZeroDivisionError")
    assert loaded(kernel, "loud_f") == []
    assert kernel.run("print(loud_f.LIMIT)").stdout == "loud is imported\n3\n"


@pytest.mark.timeout(180)
def test_imports_of_ranks(kernel: Kernel) -> None:
    write(kernel, "loud_g")
    assert kernel.remote("import loud_g\nfrom loud_g import double as dg", "H100:2 --torchrun").ok
    assert loaded(kernel, "loud_g") == []
    assert kernel.remote("print(dg(loud_g.LIMIT))").stdout.endswith("6\n")
    assert kernel.run("print(dg(2))").stdout == "loud is imported\n4\n"


def test_a_press_during_the_import_before_a_native_cell_stops_the_cell(kernel: Kernel) -> None:
    """The import is a callback of IPython, which would print the callback's frames, and run the cell."""
    begun = kernel.home / "begun"
    lines = (f"if os.getpid() == {kernel.pid}:", f"    open({str(begun)!r}, 'w').close()", "    time.sleep(1)")
    (kernel.home / "work" / "slow_d.py").write_text("\n".join(("import os, time", *lines)))
    assert kernel.remote("import slow_d").ok
    stopped = kernel.run("import time\nslow_d\ntime.sleep(60)", press=[begun.exists])
    assert stopped.reply["ename"] == "KeyboardInterrupt"
    assert "callback" not in stopped.stdout + stopped.traceback
    assert "modal_gpu_magic" not in stopped.traceback
    assert kernel.run("slow_d.__name__").value() == "'slow_d'"
