"""Which files of the project travel with a cell, and when again."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest

from modal_gpu_magic.plan.cell.references import references
from modal_gpu_magic.session.project.notebook_code import NotebookCode
from modal_gpu_magic.session.project.programs import program
from modal_gpu_magic.session.project.referenced_files import Finder
from modal_gpu_magic.session.project.root import Project
from modal_gpu_magic.session.project.sent_files import FILE_BYTES, KNOWN_FILES, LISTED_FILES, Files, FoundFiles
from modal_gpu_magic.wire.messages.events import ProjectFiles

A, B = "p/nb/a.csv", "p/nb/sub/b.csv"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "p/nb/sub").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "p/nb")
    Path("a.csv").write_bytes(b"one")
    Path("sub/b.csv").write_bytes(b"b")
    Path("../above.csv").write_bytes(b"o")
    Path("../../outside.csv").write_bytes(b"x")
    for name, size in (("just.bin", FILE_BYTES), ("large.bin", FILE_BYTES + 1)):
        with Path(name).open("wb") as file:
            file.truncate(size)


def change(path: str, content: bytes) -> None:
    before = Path(path).stat().st_mtime_ns
    Path(path).write_bytes(content)
    os.utime(path, ns=(before + 1_000_000, before + 1_000_000))


def found(source: str) -> FoundFiles:
    finder = Finder(Project.around(str(Path.cwd())))
    finder.add(references(source))
    return finder.found()


def sent(files: ProjectFiles) -> dict[str, bytes]:
    return {path: file.content for path, file in files.contents.items()}


@pytest.mark.parametrize(
    "path, places",
    [
        ("a.csv", ("p/nb/a.csv",)),
        ("./a.csv", ("p/nb/a.csv",)),
        ("sub/b.csv", ("p/nb/sub/b.csv",)),
        ("sub/../a.csv", ("p/nb/a.csv",)),
        ("../above.csv", ("p/above.csv",)),
        ("../nb/a.csv", ("p/nb/a.csv",)),
        ("just.bin", ("p/nb/just.bin",)),
        ("large.bin", ()),
        ("sub", ("p/nb/sub/b.csv",)),
        ("nowhere.csv", ()),
        ("../../outside.csv", ()),
        ("/etc/hostname", ()),
        ("", ()),
        ("a\0b", ()),
    ],
)
def test_small_files_of_the_project(path: str, places: tuple[str, ...]) -> None:
    assert found(f"open({path!r})").files == places


@pytest.mark.parametrize(
    "source, places, folders, notes",
    [
        ("os.listdir('sub')", (B,), ("p/nb/sub",), 0),
        ("glob('*.csv')", (A,), (), 0),
        ("glob('**/*.csv', recursive=True)", (A, B), (), 0),
        ("glob('*')", (A, "p/nb/just.bin", B), ("p/nb/sub",), 1),
        ("os.path.exists('sub')", (), ("p/nb/sub",), 0),
        ("os.path.exists('large.bin')", (), (), 1),
        ("os.path.exists('a.csv')", (A,), (), 0),
        ("os.listdir('../..')", (), (), 1),
        ("glob('../../*.csv')", (), (), 1),
        ("os.listdir('nowhere')", (), (), 0),
        ("os.listdir('/etc')", (), (), 0),
        ("open(f'{n}.csv')", (A,), (), 0),
        ("open(f'sub/{n}.csv')", (B,), ("p/nb/sub",), 0),
        ("open('sub/new.txt', 'w')", (), ("p/nb/sub",), 0),
        ("df.to_csv('sub/new.csv')", (), ("p/nb/sub",), 0),
        ("open('nowhere/new.txt', 'w')", (), (), 0),
        ("open('/etc/new.txt', 'w')", (), (), 0),
        ("open(f'{n}.bin')", ("p/nb/just.bin",), (), 1),
        ("print(f'{n}/{m}')", (), (), 0),
    ],
)
def test_directories_and_names_that_are_made(
    source: str, places: tuple[str, ...], folders: tuple[str, ...], notes: int
) -> None:
    result = found(source)
    assert (result.files, result.folders, len(result.notes)) == (places, folders, notes)


def test_a_directory_that_is_too_large_comes_with_its_own_files_or_not_at_all() -> None:
    Path("big/many").mkdir(parents=True)
    Path("big/top.txt").touch()
    for number in range(LISTED_FILES + 1):
        Path(f"big/many/{number}").touch()
    result = found("os.listdir('big')")
    assert result.files == ("p/nb/big/top.txt",)
    assert result.folders == ("p/nb/big", "p/nb/big/many")
    assert result.notes[0].startswith(
        "`big` has 1,002 files (0 B), over the limit of 1,000 files and 50 MB: the cell does not see them all."
    )
    assert found("os.listdir('big/many')").files == ()
    assert found("ImageFolder('big')").notes == ()


def test_scripts_bring_what_they_import_and_name() -> None:
    for path, text in {
        "main.py": "import one, json, absent_here\nopen('a.csv')",
        "one.py": "from pkg import two",
        "pkg/__init__.py": "",
        "pkg/two.py": "from . import three\nimport one",
        "pkg/three.py": "open('sub/b.csv')",
        "pkg/words.txt": "w",
        "unused.py": "",
        "broken.py": "def (",
    }.items():
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text(text)
    result = found("!python main.py")
    names = {
        "a.csv",
        "main.py",
        "one.py",
        "pkg/__init__.py",
        "pkg/three.py",
        "pkg/two.py",
        "pkg/words.txt",
        "sub/b.csv",
    }
    assert set(result.files) == {f"p/nb/{name}" for name in names}
    assert result.modules == {"json", "absent_here"}
    assert found("!python broken.py").files == ("p/nb/broken.py",)
    assert found("!cd pkg && python -m two").files


def test_a_script_is_read_again_when_it_was_changed() -> None:
    Path("s.py").write_text("open('a.csv')")
    first = program("s.py")
    assert first is not None
    assert [each.text for each in first.references] == ["a.csv"]
    change("s.py", b"open('b.csv')")
    again = program("s.py")
    assert again is not None
    assert [each.text for each in again.references] == ["b.csv"]
    assert program("a.csv") is None
    assert program("nowhere.py") is None


def test_a_file_travels_once_and_again_when_it_was_changed() -> None:
    files, both = Files(), FoundFiles((A, B))
    first = files.outgoing(both)
    assert sent(first) == {A: b"one", B: b"b"}
    assert (first.place, first.contents[A].mode) == ("p/nb", Path("a.csv").stat().st_mode & 0o777)
    files.arrived()
    assert sent(files.outgoing(both)) == {}
    change("a.csv", b"two")
    assert sent(files.outgoing(FoundFiles())) == {A: b"two"}, "also if this cell does not name it"


def test_one_that_did_not_arrive_travels_again() -> None:
    files = Files()
    files.outgoing(FoundFiles((A,)))
    assert sent(files.outgoing(FoundFiles((A,)))) == {A: b"one"}
    assert sent(files.outgoing(FoundFiles())) == {}


def test_one_that_was_kept_there_travels_again_when_a_cell_names_it() -> None:
    files = Files()
    files.outgoing(FoundFiles((A, B)))
    files.arrived([A])
    assert sent(files.outgoing(FoundFiles())) == {}
    assert sent(files.outgoing(FoundFiles((A, B)))) == {A: b"one"}


def test_one_that_is_written_to_while_the_cell_runs_travels_again() -> None:
    files = Files()
    files.outgoing(FoundFiles((A,)))
    change("a.csv", b"two")
    files.arrived()
    assert sent(files.outgoing(FoundFiles((A,)))) == {A: b"two"}


def test_what_is_removed_here_is_removed_there() -> None:
    files = Files()
    files.outgoing(FoundFiles((A, B), ("p/nb/sub",)))
    files.arrived()
    Path("sub/b.csv").unlink()
    Path("sub").rmdir()
    assert files.outgoing(FoundFiles()).gone == (B, "p/nb/sub")
    files.arrived()
    assert files.outgoing(FoundFiles()).gone == ()


def test_a_new_container_gets_everything() -> None:
    files = Files()
    files.outgoing(FoundFiles((A,)))
    files.arrived()
    files.forget()
    assert sent(files.outgoing(FoundFiles())) == {}
    assert sent(files.outgoing(FoundFiles((A,)))) == {A: b"one"}


def test_another_directory_of_the_project_and_another_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = Files()
    assert files.outgoing(FoundFiles((A,))).place == "p/nb"
    files.arrived()
    monkeypatch.chdir("..")
    assert files.outgoing(FoundFiles()) == ProjectFiles("p")
    monkeypatch.chdir(tmp_path)
    assert files.outgoing(FoundFiles()).place == f"{tmp_path.parent.name}/{tmp_path.name}"


def test_a_directory_that_is_gone_names_no_place() -> None:
    Path("gone").mkdir()
    os.chdir("gone")
    Path("../gone").rmdir()
    assert Files().outgoing(FoundFiles()) == ProjectFiles()
    assert Files().place("x") is None


def test_the_notebook_s_code_and_texts() -> None:
    namespace: dict[str, object] = {"__name__": "__main__"}
    source = textwrap.dedent("""
        class Box:
            limit = 3
            def __init__(self): self.path = 'boxed.csv'
            @staticmethod
            def read(): return open('static.csv')
        def outer(): return inner(NAME)
        def inner(x): return x
        NAME = 'named.csv'
        LIST = ['a.csv', 'not a path', Box]
        box = Box()
    """)
    code = compile(source, "<notebook code>", "exec")
    exec(code, namespace)
    import linecache

    linecache.cache["<notebook code>"] = len(source), None, source.splitlines(keepends=True), "<notebook code>"
    seen = NotebookCode(["outer", "LIST", "box"], namespace)
    assert seen.texts == {"NAME": "named.csv"}
    assert {each.text for each in seen.references} == {"named.csv", "a.csv", "boxed.csv", "static.csv"}
    assert NotebookCode(["nowhere"], namespace).references == []


class Refusing:
    """A proxy that answers nothing."""

    __module__ = None  # type: ignore[assignment]  # some libraries do that

    def __getattribute__(self, name: str) -> object:
        raise RuntimeError(name)

    def __bool__(self) -> bool:
        raise RuntimeError

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    def __hash__(self) -> int:
        raise RuntimeError


def test_any_value() -> None:
    class Holder:
        held = Refusing()

    Holder.__module__ = "__main__"
    for value in (Refusing(), [Refusing()], {"a": Refusing()}, Refusing, Holder, Holder(), lambda: 0, len, None, type):
        assert NotebookCode(["value"], {"value": value, "__name__": "__main__"}).references == []


@pytest.mark.parametrize(
    "path, written",
    [
        ("out/m.pt", "out/m.pt"),
        ("./out/../out/m.pt", "out/m.pt"),
        ("out", "out"),
        ("out/", "out"),
        ("..", None),
        ("../up.txt", "../up.txt"),
        (".", None),
        ("", None),
        ("m.pt", None),
        ("out/other.pt", None),
        ("ou", None),
    ],
)
def test_what_a_cell_wrote_is_found_by_its_local_path(path: str, written: str | None) -> None:
    files = Files()
    files.outgoing(FoundFiles())
    files.note_written(["out/m.pt", "out/deep/n.pt", "../up.txt"])
    assert files.written_as(path) == written
    assert files.written_as(str(Path.cwd() / path)) == written


def test_what_a_cell_wrote_is_found_from_another_directory_and_only_in_its_container() -> None:
    files = Files()
    files.outgoing(FoundFiles())
    files.note_written(["out/m.pt"])
    os.chdir("sub")
    assert files.written_as("../out/m.pt") == "out/m.pt"
    assert files.written_as("out/m.pt") is None
    files.forget()
    assert files.written_as("../out/m.pt") is None


def test_the_paths_of_the_latest_files_are_known() -> None:
    files = Files()
    files.outgoing(FoundFiles())
    for number in range(KNOWN_FILES + 2):
        files.note_written([f"{number}.pt"])
    assert files.written_as("1.pt") is None
    assert files.written_as("2.pt") == "2.pt"
