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


class TestPackagesThatCannotBeInstalled:
    """Into a running container: as in a first cell, the cell does not run, and the session goes on without them."""

    def test_the_cell_does_not_run_and_the_error_names_package_and_remedy(self, renewed: Kernel) -> None:
        renewed.remote("ran = []\nimport os\npid = os.getpid()", "H100")
        result = renewed.remote("ran.append(1)", "H100 --pip mg-no-such-package==1.0", timeout=110)
        assert result.reply.get("ename") == "MachineError"
        assert "pip could not install mg-no-such-package==1.0 into the running container" in result.error
        assert "Ask for another version: --pip mg-no-such-package" in result.error
        assert "No matching distribution found" in result.error
        assert "\x1b" not in result.said
        assert renewed.run("ran").value() == "[]"
        after = renewed.remote("import os\nran, os.getpid() == pid", "H100")
        assert after.value() == "([], True)"

    @pytest.mark.parametrize("header", ["", "H100", f"H100 --pip {EINOPS}", "H100 --env A=1 --move"])
    def test_later_cells_do_not_ask_for_them(self, renewed: Kernel, header: str) -> None:
        renewed.remote("kept = [1]", "H100")
        assert not renewed.remote("1", "H100 --pip mg-no-such-package==1.0", timeout=110).ok
        later = renewed.remote("kept", header, timeout=110)
        assert later.value() == "[1]"
        assert "mg-no-such-package" not in later.said

    def test_packages_of_earlier_headers_stay(self, renewed: Kernel) -> None:
        renewed.remote("1", "H100")
        renewed.remote("1", f"H100 --pip {EINOPS}", timeout=110)
        assert not renewed.remote("1", "H100 --pip mg-no-such-package==1.0", timeout=110).ok
        shown = renewed.run("%modal_gpu status").said + renewed.run("%%modal_gpu --dry-run\n1").said
        assert "mg-no-such-package" not in shown
        renewed.run("%modal_gpu stop")
        assert renewed.remote("import einops\neinops.__version__", timeout=110).value() == "'0.8.0'"

    def test_values_that_the_cell_would_have_got_come_with_the_next_one(self, renewed: Kernel) -> None:
        renewed.remote("1", "H100")
        renewed.run("shared = [1]\npair = [shared, shared]")
        assert not renewed.remote("shared.append(2)", "H100 --pip mg-no-such-package==1.0", timeout=110).ok
        assert renewed.remote("shared.append(3)\npair[0] is pair[1] is shared").value() == "True"
        assert renewed.run("pair, pair[0] is shared").value() == "([[1, 3], [1, 3]], True)"

    def test_a_background_cell(self, renewed: Kernel) -> None:
        renewed.remote("kept = [1]", "H100")
        renewed.remote("kept.append(2)", "H100 --bg job --pip mg-no-such-package==1.0", timeout=110)
        failed = renewed.run("job.result()", timeout=110)
        assert failed.reply.get("ename") == "MachineError"
        assert "mg-no-such-package" in failed.error
        assert renewed.remote("kept").value() == "[1]"


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
