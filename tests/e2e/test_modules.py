"""The notebook's own modules in cells: they travel by themselves, and edits are seen in the next cell."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import modal_gpu_magic
from tests.e2e.kernel import Kernel


@dataclass(frozen=True, slots=True)
class Project:
    """A kernel with two folders of the user's on its path: the notebook's, and one of PYTHONPATH."""

    kernel: Kernel
    elsewhere: Path

    def write(self, path: str, text: str) -> Path:
        """Write a file beside the notebook, as an editor does."""
        target = self.kernel.home / "work" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return target

    def value(self, source: str, header: str = "H100") -> str:
        """What a remote cell shows."""
        return self.kernel.remote(source, header).value()


@pytest.fixture(scope="module")
def project() -> Iterator[Project]:
    """One for all tests of the module, so each uses modules of its own."""
    with tempfile.TemporaryDirectory(dir="/tmp") as elsewhere:
        ours = Path(modal_gpu_magic.__file__).parents[1]
        with Kernel(env={"PYTHONPATH": f"{ours}{os.pathsep}{elsewhere}"}) as kernel:
            kernel.load()
            yield Project(kernel, Path(elsewhere))


def test_a_module_travels_and_an_edit_is_seen_in_the_next_cell(project: Project) -> None:
    project.write("steps.py", "def step():\n    return 'first'\n")
    assert project.value("import steps\nsteps.step()") == "'first'"
    assert project.value("steps.__file__.startswith(__import__('os').getcwd())") == "True"
    project.write("steps.py", "def step():\n    return 'other'\n")
    assert project.value("steps.step()") == "'other'"


def test_functions_and_classes_that_values_hold_are_updated(project: Project) -> None:
    shapes = "SIDES = {n}\nclass Shape:\n    def sides(self): return SIDES\ndef area(): return SIDES * 2\n"
    project.write("shapes.py", shapes.format(n=3))
    project.kernel.remote("from shapes import Shape, area\nheld = [Shape(), area]\nown = Shape()\nmade = Shape")
    project.write("shapes.py", shapes.format(n=4))
    assert project.value("held[0].sides(), held[1](), area(), own.sides(), isinstance(own, Shape)") == (
        "(4, 8, 8, 4, True)"
    )
    came = project.kernel.remote("again = [Shape(), made, area]")  # they still travel by their names
    assert came.ok, came.traceback
    assert project.kernel.print("type(again[0]) is __import__('shapes').Shape, again[2].__module__") == "True shapes"


def test_a_package_with_its_submodules_and_data(project: Project) -> None:
    project.write("kit/__init__.py", "from kit.deep import low\n")
    project.write("kit/deep/__init__.py", "")
    project.write("kit/deep/low.py", "from ..top import WORD\ndef word(): return WORD\n")
    project.write("kit/top.py", "WORD = 'a'\n")
    project.write("kit/words.txt", "data")
    read = "(Path(kit.__file__).parent / 'words.txt').read_text()"
    assert project.value(f"import kit\nfrom pathlib import Path\nkit.low.word(), {read}") == "('a', 'data')"
    project.write("kit/deep/low.py", "from ..top import WORD\ndef word(): return WORD * 2\n")
    project.write("kit/words.txt", "more")
    assert project.value(f"kit.low.word(), kit.deep.low is kit.low, {read}") == "('aa', True, 'more')"


def test_a_file_that_is_new_arrives_and_one_that_is_removed_goes(project: Project) -> None:
    project.write("parts/__init__.py", "")
    old = project.write("parts/old.py", "")
    listing = "sorted(path.name for path in Path(parts.__file__).parent.glob('*.py'))"
    assert project.value(f"import parts\nfrom pathlib import Path\n{listing}") == "['__init__.py', 'old.py']"
    old.unlink()
    project.write("parts/new.py", "X = 1")
    assert project.value(f"import parts.new\n{listing}, parts.new.X") == "(['__init__.py', 'new.py'], 1)"


def test_modules_that_only_values_refer_to_travel(project: Project) -> None:
    project.write("base.py", "SCALE = 3\n")
    project.write("work.py", "import base\ndef scaled(x): return x * base.SCALE\nclass Box:\n    size = base.SCALE\n")
    project.kernel.run(
        "import work\nact, box = work.scaled, work.Box()\ndef late():\n    import inner\n    return inner.X"
    )
    project.write("inner.py", "X = 7")
    assert project.value("act(2), box.size") == "(6, 3)"
    assert project.value("work.scaled(3)") == "9"
    assert project.value("late()") == "7"


def test_a_broken_edit_is_said_and_the_old_code_goes_on(project: Project) -> None:
    project.write("frail.py", "def f(): return 1\n")
    project.kernel.remote("import frail")
    project.write("frail.py", "def f(: return 2\n")
    broken = project.kernel.remote("frail.f()")
    assert broken.value() == "1"
    assert "[autoreload of frail failed: " in broken.stderr
    assert "SyntaxError" in broken.stderr
    assert "modal_gpu_magic" not in broken.stderr.replace(".modal_gpu/modules", "")
    assert project.kernel.remote("frail.f()").stderr == ""
    project.write("frail.py", "def f(): return 3\n")
    assert project.value("frail.f()") == "3"


def test_another_folder_of_the_path_and_only_what_is_imported(project: Project) -> None:
    (project.elsewhere / "far.py").write_text("X = 'far'")
    (project.elsewhere / "hidden.py").write_text("X = 'hidden'")
    assert project.value("import far\nfar.X") == "'far'"
    unseen = project.kernel.remote("__import__('nedd' 'ih'[::-1])")
    assert unseen.error == "ModuleNotFoundError: No module named 'hidden'"
    assert "write `import hidden` in the cell to send it" in unseen.said


def test_children_import_them_too(project: Project) -> None:
    project.write("childs.py", "X = 5\ndef square(x): return x * x\n")
    shell = "import childs, subprocess, sys\nsubprocess.check_output([sys.executable, '-c', 'import childs; print(childs.X)'])"
    assert project.value(shell) == "b'5\\n'"
    pool = "import multiprocessing\nwith multiprocessing.get_context('spawn').Pool(1) as p:\n    out = p.map(childs.square, [3])\nout"
    assert project.value(pool) == "[9]"


def test_what_is_too_large_is_named_with_the_way_out(project: Project) -> None:
    for number in range(3):
        project.write(f"heavy/m{number}.py", "#" * (7_000_000 + number))
    refused = project.kernel.remote("import heavy\n1")
    assert refused.error.startswith("TransferError: cannot send the notebook's own modules")
    assert "the biggest is heavy/m2.py (7.0 MB)" in refused.error
    assert project.value("try:\n    import heavy\nexcept ImportError:\n    print('none')\n1", "--no-in heavy") == "1"
    assert project.value("2") == "2"


def test_a_new_container_gets_them_all(project: Project) -> None:
    project.write("anew.py", "X = 1")
    project.kernel.remote("import anew")
    project.kernel.run("%modal_gpu stop")
    assert project.value("import anew, steps\nanew.X, steps.step()") == "(1, 'other')"


def test_their_directory_is_not_among_the_files_a_cell_wrote(project: Project) -> None:
    project.write("quiet.py", "X = 1")
    assert "wrote" not in project.kernel.remote("import quiet\nquiet.X").said
