"""What the image of a session must have for a cell."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest

from modal_gpu_magic.plan.cell.names import analyse
from modal_gpu_magic.session.project.modules import LocalModules
from modal_gpu_magic.session.project.needs import needs

NUMPY = f"numpy=={version('numpy')}"


@pytest.mark.parametrize(
    "source, namespace, imports",
    [
        ("x = 1", {}, {}),
        ("import os, sys", {}, {}),
        ("import modal_gpu_magic", {}, {}),
        ("import numpy", {}, {"numpy": NUMPY}),
        ("from numpy.linalg import norm", {}, {"numpy": NUMPY}),
        ("def f():\n    import numpy", {}, {"numpy": NUMPY}),
        ("import no_such_module_here", {}, {}),
        ("np.zeros(1)", {"np": np}, {"numpy": NUMPY}),
        ("y = x + 1", {"x": np.zeros(1)}, {"numpy": NUMPY}),
        ("y = z + 1", {"x": np.zeros(1), "z": 1}, {}),
        ("import pandas", {}, {"pandas": f"pandas=={version('pandas')}"}),
    ],
)
def test_modules_and_what_brings_them(source: str, namespace: dict[str, object], imports: dict[str, str]) -> None:
    found = needs(analyse(source), namespace, LocalModules())
    assert found.imports == imports
    assert found.packages == tuple(imports.values())


def test_the_user_s_own_module_is_no_package_but_brings_what_it_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_tools.py").write_text("def f():\n    import numpy")
    assert needs(analyse("import own_tools"), {}, LocalModules()).packages == (NUMPY,)
    assert needs(analyse("import own_tools"), {}, LocalModules(), ["own_tools"]).packages == ()
