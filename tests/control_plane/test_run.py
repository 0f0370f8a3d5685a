"""`modal run SCRIPT` against the local control plane: files of the project travel, functions call each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.control_plane.plane import run_command

PROJECT = {
    "near.py": "WORD = 'near'",
    "tools/__init__.py": "",
    "tools/deep.py": "def answer(): return 42",
    "words/a.txt": "alpha",
    "words/sub/b.txt": "beta",
    "large.bin": "x" * (5 << 20),
    "entry.py": """\
import json
import os
from pathlib import Path

import modal

import near
from tools import deep

app = modal.App("entry")
image = (
    modal.Image.debian_slim()
    .add_local_file("words/a.txt", "/root/copied/", copy=True)
    .add_local_python_source("tools", copy=True)
    .env({"AFTER": "the copies"})
    .add_local_dir("words", "/root/words")
    .add_local_file("large.bin", "/root/large.bin")
    .add_local_python_source("near")
)
volume = modal.Volume.from_name("run", create_if_missing=True)


@app.function(image=image, volumes={"/root/kept": volume})
def look():
    Path("kept/new").write_text("new")
    volume.commit()
    volume.reload()
    files = [str(path) for path in sorted(Path().rglob("*.*")) if "__pycache__" not in path.parts]
    return near.WORD, deep.answer(), os.environ["AFTER"], Path("large.bin").stat().st_size, files


@app.function(image=image, max_containers=1)
def double(x: int):
    return 2 * x


@app.cls(image=image)
class Adder:
    by: int = modal.parameter()

    @modal.method()
    def add(self, x):
        return x + self.by + double.remote(x)

    @modal.method()
    def count(self, to):
        yield from range(self.by, to)


@app.function(image=image)
def nested(x):
    adder = Adder(by=10)
    called = [double.remote(x), double.spawn(x).get(), adder.add.remote(x), adder.add.local(x)]
    return called, list(double.map([x, x + 1])), list(adder.count.remote_gen(13))


@app.function(image=image)
def missing(x: int):
    print("x is", x)
    open("/root/words/a.txt.not")


@app.local_entrypoint()
def main(x: int, word: str = "none"):
    call = nested.spawn(x)
    print(json.dumps({"word": word, "look": look.remote(), "nested": call.get()}))
    print("read from outside:", *volume.read_file("new"))
""",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A script with its neighbours."""
    here = tmp_path_factory.mktemp("project")
    for name, text in PROJECT.items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(text)
    return here


def test_an_entrypoint_with_its_project(project: Path, places: dict[str, str]) -> None:
    ran = run_command(places, "modal", "run", "entry.py", "--x", "3", "--word", "given", cwd=project)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    said = json.loads(next(line for line in ran.stdout.splitlines() if line.startswith("{")))
    files = ["copied/a.txt", "entry.py", "large.bin", "near.py", "tools/__init__.py", "tools/deep.py"]
    files += ["words/a.txt", "words/sub/b.txt"]
    assert said["word"] == "given"
    assert said["look"] == ["near", 42, "the copies", 5 << 20, files]
    assert said["nested"] == [[6, 6, 19, 19], [6, 8], [10, 11, 12]]
    assert "read from outside: b'new'" in ran.stdout


def test_one_function_by_name_and_a_path_that_is_explained(project: Path, places: dict[str, str]) -> None:
    ran = run_command(places, "modal", "run", "entry.py::missing", "--x", "5", cwd=project)
    assert ran.returncode != 0
    assert "x is 5" in ran.stdout
    assert "No such file or directory: '/root/words/a.txt.not'" in ran.stderr
    assert "Use a relative path, which works locally and on Modal" in ran.stdout


def test_what_would_outlive_the_command_is_refused(project: Path, places: dict[str, str]) -> None:
    ran = run_command(places, "modal", "run", "--detach", "entry.py::double", "--x", "5", cwd=project)
    assert ran.returncode != 0
    assert "stops together with its command" in " ".join(ran.stderr.split())
