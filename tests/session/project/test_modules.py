"""Which files of the notebook's own modules travel with a cell: those that the container lacks, and no others."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modal_gpu_magic.errors import TransferError
from modal_gpu_magic.session.project.modules import DATA_BYTES, LocalModules
from modal_gpu_magic.wire.messages.events import Modules


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the user's on the path."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)


def sent(modules: LocalModules, *names: str) -> Modules | None:
    """What one cell sends, having arrived."""
    outgoing = modules.outgoing(names)
    modules.arrived()
    return outgoing


def test_only_changed_files_are_sent_and_nothing_for_other_cells(own: Path) -> None:
    modules = LocalModules()
    write(own, mt_a="import mt_b", mt_b="X = 1")
    assert sent(modules) is None
    assert sent(modules, "json", "pytest", "mt_nowhere") is None
    assert sent(modules, "mt_a.sub") == Modules(
        ("mt_a.py", "mt_b.py"), {"mt_a.py": b"import mt_b", "mt_b.py": b"X = 1"}
    )
    assert sent(modules, "mt_a") is None
    write(own, mt_b="X = 22")
    assert sent(modules) == Modules(("mt_a.py", "mt_b.py"), {"mt_b.py": b"X = 22"})
    (own / "mt_a.py").touch()
    assert sent(modules) is None


def test_what_did_not_arrive_and_what_a_new_container_lacks_is_sent_again(own: Path) -> None:
    modules = LocalModules()
    write(own, mt_c="X = 1")
    first = modules.outgoing(["mt_c"])
    assert modules.outgoing(["mt_c"]) == first
    assert modules.outgoing([]) is None, "the cell that needed it never ran"
    sent(modules, "mt_c")
    modules.forget()
    assert modules.outgoing([]) is None
    assert modules.outgoing(["mt_c"]) == first


def test_a_removed_file_is_among_the_paths_no_more(own: Path) -> None:
    modules = LocalModules()
    (own / "mt_kit").mkdir()
    for name in ("__init__", "old"):
        (own / "mt_kit" / f"{name}.py").write_text("")
    sent(modules, "mt_kit")
    (own / "mt_kit" / "old.py").unlink()
    assert sent(modules) == Modules(("mt_kit/__init__.py",), {})


def test_data_beside_the_code_comes_along_if_it_is_small(own: Path) -> None:
    (own / "mt_data").mkdir()
    for name, size in (("__init__.py", 0), ("just.bin", DATA_BYTES), ("large.bin", DATA_BYTES + 1)):
        with (own / "mt_data" / name).open("wb") as file:
            file.truncate(size)
    assert LocalModules().find(["mt_data"]).files.keys() == {"mt_data/__init__.py", "mt_data/just.bin"}


def test_too_many_files(own: Path) -> None:
    (own / "mt_many").mkdir()
    for number in range(11):
        (own / "mt_many" / f"f{number}.txt").touch()
    with pytest.raises(TransferError, match=r"more than 10 files.*--no-in mt_many"):
        LocalModules(10).outgoing(["mt_many"])
    assert LocalModules(10).outgoing(["mt_many"], exclude=["mt_many"]) is None


def test_what_the_user_s_own_modules_import_is_known(own: Path) -> None:
    write(own, mt_d="import numpy, mt_e, json", mt_e="import pandas")
    found = LocalModules().find(["mt_d", "torch"])
    assert found.modules == {"mt_d", "mt_e"}
    assert found.foreign == {"numpy", "json", "pandas", "torch"}


Edit = tuple[str, str | None]
EDITS = st.lists(
    st.tuples(st.sampled_from(["mt_p/__init__.py", "mt_p/a.py", "mt_p/b/c.py"]), st.none() | st.sampled_from("xyz")),
    max_size=4,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(cells=st.lists(st.tuples(EDITS, st.booleans()), max_size=5))
def test_the_container_has_what_is_here_after_every_cell(
    monkeypatch: pytest.MonkeyPatch, cells: list[tuple[list[Edit], bool]]
) -> None:
    """Whatever was edited, and whether or not a cell arrived: what is there after one that did is what is here."""
    with tempfile.TemporaryDirectory() as folder, monkeypatch.context() as patch:
        root = Path(folder)
        (root / "mt_p").mkdir()
        (root / "mt_p/keep.py").write_text("")
        patch.syspath_prepend(folder)
        modules, there = LocalModules(), dict[str, bytes]()
        for edits, arrives in cells:
            _apply(root, edits)
            outgoing = modules.outgoing(["mt_p"])
            if outgoing is not None and arrives:
                assert all(there.get(path) != content for path, content in outgoing.contents.items())
                there = {path: there[path] for path in outgoing.paths if path in there} | outgoing.contents
            if arrives:
                modules.arrived()
                assert there == {
                    path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
                }


def _apply(root: Path, edits: list[Edit]) -> None:
    for name, text in edits:
        path = root / name
        if text is None:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(exist_ok=True)
            before = path.stat().st_mtime_ns if path.exists() else 0
            path.write_text(text)
            while path.stat().st_mtime_ns == before:  # the file system's clock stands still for some milliseconds
                path.write_text(text)
