"""Packages: `--pip` and `!pip install` go to the container alone; what the local backend does not apply is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.kernel import Kernel

EINOPS = "einops==0.8.0"
"""A small package without dependencies, at a version that nothing else brings."""

ICONS = "iniconfig==2.0.0"


def here(kernel: Kernel, package: str) -> str:
    """The version that the notebook's own environment has, or nothing."""
    source = f"import importlib.metadata as m\n', '.join(d.version for d in m.distributions(name={package!r}))"
    return kernel.run(source).value().strip("'")


def test_pip_is_there_and_not_here(kernel: Kernel) -> None:
    before = here(kernel, "einops")
    result = kernel.remote("import einops\neinops.__version__", f"H100 --pip {EINOPS}", timeout=110)
    assert result.ok, result.error
    assert result.value() == "'0.8.0'"
    assert here(kernel, "einops") == before


def test_pip_on_a_later_header_goes_into_the_running_container(renewed: Kernel) -> None:
    renewed.remote("kept = 1\nimport os\npid = os.getpid()", "H100")
    result = renewed.remote("import einops\neinops.__version__, kept, os.getpid() == pid", f"H100 --pip {EINOPS}")
    assert result.value() == "('0.8.0', 1, True)"
    assert "einops" in result.said


@pytest.mark.parametrize("command", ["!pip install -q", "%pip install -q"])
def test_an_install_in_the_cell_stays_there(renewed: Kernel, command: str) -> None:
    before = here(renewed, "iniconfig")
    installed = renewed.remote(
        f"{command} {ICONS}\nimport importlib.metadata\nimportlib.metadata.version('iniconfig')", timeout=110
    )
    assert installed.value() == "'2.0.0'"
    assert here(renewed, "iniconfig") == before


def test_what_the_cell_imports_the_kernel_has(kernel: Kernel) -> None:
    """Locally the kernel's own packages stand for the image's."""
    assert (
        kernel.remote("import pandas\npandas.__version__").value()
        == kernel.run("import pandas\npandas.__version__").value()
    )


def test_a_package_that_does_not_exist_is_named_with_pip_s_words(renewed: Kernel) -> None:
    result = renewed.remote("print('never')", "H100 --pip mg-no-such-package==1.0", timeout=110)
    assert result.reply.get("ename") == "MachineError"
    assert "mg-no-such-package" in result.error
    assert "No matching distribution" in result.error + result.said
    assert result.stdout == ""
    after = renewed.remote("print('next')", "")
    assert (after.stdout, after.error) == ("next\n", ""), "a machine that could not be made is not inherited"
    assert "H100" in after.said


@pytest.mark.parametrize("package", ["--index-url=http://x", "-r", "--pre", "'-e .'"])
def test_an_option_is_no_package(kernel: Kernel, package: str) -> None:
    result = kernel.remote("print('never')", f"H100 --pip={package}")
    assert result.reply.get("ename") in ("LineError", "MachineError")
    assert result.stdout == ""


def test_layers_that_are_not_applied_here_are_said(renewed: Kernel) -> None:
    result = renewed.remote("print('runs')", "H100 --image python:3.12-slim --apt ffmpeg --run 'echo built'")
    assert result.stdout == "runs\n"
    assert [word for word in ("python:3.12-slim", "ffmpeg", "echo built") if word not in result.said] == []
