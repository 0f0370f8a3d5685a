"""What is said beside a cell's own error."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from modal_gpu_magic.session.files import FILE_BYTES
from modal_gpu_magic.session.hints import hint


def missing(path: str) -> FileNotFoundError:
    return FileNotFoundError(2, "No such file or directory", path)


@pytest.mark.parametrize(
    "error, said",
    [
        (NameError("name 'held' is not defined"), "`held` was not sent: it is a lock."),
        (NameError("name 'here' is not defined"), "send it with --in here"),
        (NameError("name 'nowhere' is not defined"), None),
        (UnboundLocalError("cannot access local variable 'here'"), None),
        (ValueError("name 'here' is not defined"), None),
        (missing("nowhere.txt"), None),
        (FileNotFoundError("gone"), None),
        (missing("a\0b"), None),
        (FileNotFoundError(2, "No such file", 7), None),
    ],
)
def test_the_way_out_or_nothing(error: BaseException, said: str | None) -> None:
    for each in (error, pickle.loads(pickle.dumps(error))):  # as it comes from the container
        found = hint(each, {"here": 1, "held": 2}, {"held": "it is a lock"})
        assert (said is None and found is None) or (said is not None and said in (found or ""))


def test_a_file_that_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.csv").write_text("1")
    with Path("large.bin").open("wb") as file:
        file.truncate(FILE_BYTES + 1)
    Path("folder").mkdir()
    assert "names it literally" in (hint(missing("small.csv"), {}, {}) or "")
    assert "--volume NAME:/path" in (hint(missing("large.bin"), {}, {}) or "")
    assert "only files travel" in (hint(missing("folder"), {}, {}) or "")
