"""A value of `--env` is in the container's environment, and in nothing that is shown, saved or listed of a run."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.e2e.kernel import Kernel, Result

SECRET = "s3kret/+99"
HEADER = f"T4 --env TOKEN={SECRET}"

CELLS = {
    "a run": f"%%modal_gpu {HEADER}\nimport os\nlen(os.environ['TOKEN'])",
    "an error on the first line": f"%%modal_gpu {HEADER}\n1 / 0",
    "an error in a function": f"%%modal_gpu {HEADER}\ndef f(x):\n    return 1 / x\n\nf(0)",
    "an error in syntax": f"%%modal_gpu {HEADER}\nx = (",
    "a warning": f"%%modal_gpu {HEADER}\nimport warnings\nwarnings.warn('odd')",
    "the cell's own text": f"%%modal_gpu {HEADER}\nIn[-1], get_ipython().history_manager.input_hist_parsed[-1:]",
    "a wrong option": f"%%modal_gpu {HEADER} --bogus\n1",
    "a wrong value": f"%%modal_gpu T4 --timeout 99h --env 'TOKEN='{SECRET}\n1",
    "an open quote": f"%%modal_gpu T4 'x --env TOKEN={SECRET}\n1",
    "a dry run": f"%%modal_gpu {HEADER} --dry-run\nx = 1",
    "a dry run of a service": f"%%modal_gpu {HEADER} --service s --dry-run\ndef f(x):\n    return x",
    "the session's machine": f"%modal_gpu use {HEADER}",
    "the session": "%modal_gpu status",
    "a Machine": f"from modal_gpu_magic import Machine\nm = Machine('T4', env={{'TOKEN': {SECRET!r}}})\n[m, str(m), f'{{m}}']",
    "a Machine in a cell": "%%modal_gpu m --dry-run\nx = 1",
    "a cell after it": "%%modal_gpu\n1 / 0",
    "stop": "%modal_gpu stop",
}
"""Cells in order."""


@pytest.fixture(scope="module")
def shared(kernel: Kernel) -> Iterator[Kernel]:
    yield kernel
    kernel.run("%modal_gpu stop")


def shown(result: Result) -> str:
    """All that the front end gets of a cell."""
    parts: list[Any] = [[message.kind, message.content] for message in result.all]
    return json.dumps([*parts, result.reply], ensure_ascii=False, default=repr)


@pytest.mark.parametrize("name", CELLS)
def test_it_is_not_shown(shared: Kernel, name: str) -> None:
    result = shared.run(CELLS[name])
    assert SECRET not in shown(result)
    if name == "a run":
        assert result.value() == str(len(SECRET))


def test_a_stop_does_not_show_it(shared: Kernel) -> None:
    result = shared.run(f"%%modal_gpu {HEADER}\nprint('on')\nwhile True:\n    pass", press=("on",))
    assert (result.ok, SECRET in shown(result)) == (False, False)


def test_no_process_is_started_with_it(shared: Kernel) -> None:
    assert shared.remote("import os\nlen(os.environ['TOKEN'])", HEADER).value() == str(len(SECRET))
    words = []
    for process in shared.processes():
        with contextlib.suppress(psutil.Error):
            words += process.cmdline()
    assert words
    assert not [word for word in words if SECRET in word]


def test_no_file_has_it(shared: Kernel) -> None:
    """Neither logs, nor caches, nor what the control plane keeps; IPython's own history has the cell's text."""
    assert [path for path in shared.files_with(SECRET) if path.name != "history.sqlite"] == []
