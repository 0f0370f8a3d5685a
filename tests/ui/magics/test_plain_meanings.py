"""Lines whose meaning is plain although they are not the documented ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from modal_gpu_magic.line import slips
from modal_gpu_magic.ui.magics.commands import COMMANDS
from tests.e2e.kernel import Kernel


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with Kernel() as kernel:
        kernel.load()
        yield kernel


def test_a_header_knows_the_commands() -> None:
    assert set(slips.COMMANDS) == set(COMMANDS)


def test_a_cell_without_a_gpu_says_so_once(kernel: Kernel) -> None:
    assert "No GPU chosen: running on CPU. Write `%%modal_gpu H100`" in kernel.remote("1", "--session first").said
    assert "No GPU chosen" not in kernel.remote("1", "--session first").said


@pytest.mark.parametrize("line", ["T4", "L4, T4", "24GB", "T4 --keep-warm 5m"])
def test_a_line_that_names_a_machine_means_use(kernel: Kernel, line: str) -> None:
    assert kernel.run(f"%modal_gpu {line}").ok
    assert kernel.run("%modal_gpu status").ok


@pytest.mark.parametrize("line", ["stat", "frobnicate H100"])
def test_another_word_is_refused_with_the_way_out(kernel: Kernel, line: str) -> None:
    refused = kernel.run(f"%modal_gpu {line}")
    assert "has no command" in refused.error
    assert "start it with %%modal_gpu" in refused.error


def test_a_missing_module_is_named_with_its_package(kernel: Kernel) -> None:
    assert "add --pip opencv-python-headless to the header" in kernel.remote("import cv2", "T4").said
