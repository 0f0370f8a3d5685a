"""What has crossed can be used as before: nothing of ours holds its buffer, and what can be resized owns its memory."""

from __future__ import annotations

import array
import io
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from modal_gpu_magic import Session
from modal_gpu_magic.errors import TransferError

SIZES = [10, 100_000]
"""Numbers: in the stream, and out of band."""


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    started = Session(name="usable", backend="local")
    started.run("import array, io\nimport numpy as np")
    yield started
    started.stop()


def kinds(size: int) -> dict[str, Any]:
    return {
        "raw": bytearray(40 * size),
        "numbers": np.arange(size, dtype=float),
        "columns": np.asfortranarray(np.ones((size // 10, 10))),
        "words": np.array(["ab"] * size),
        "times": np.zeros(size, "M8[s]"),
        "packed": array.array("d", bytes(8 * size)),
        "file": io.BytesIO(bytes(8 * size)),
    }


USES = """\
raw.extend(b'xy')
raw.append(3)
del raw[:5]
numbers.resize(len(numbers) + 7, refcheck=False)
columns.resize((3, 4), refcheck=False)
words.resize(len(words) + 1, refcheck=False)
times.resize(5, refcheck=False)
packed.append(1.0)
file.write(bytes(len(file.getvalue()) + 9))
numbers[0] = columns[0, 0] = 5
"""
SEEN = "(len(raw), len(numbers), columns.shape, len(words), len(times), len(packed), file.tell(), numbers[0])"


@pytest.mark.timeout(240)
@pytest.mark.parametrize("size", SIZES)
def test_values_of_the_notebook_after_they_were_sent(session: Session, size: int) -> None:
    session.namespace.update(kinds(size))
    native = kinds(size)
    for _ in range(2):
        exec(USES, native)
        session.run(USES)
        assert session.run(SEEN) == eval(SEEN, native)
        exec(USES, native)
        exec(USES, session.namespace)
        assert eval(SEEN, session.namespace) == eval(SEEN, native)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("size", SIZES)
def test_values_that_a_cell_made(session: Session, size: int) -> None:
    names = ", ".join(kinds(size))
    session.namespace["made"] = kinds(size)
    session.run(f"{names} = made.values()\ndel made")
    native = kinds(size)
    exec(USES, native)
    exec(USES, session.namespace)
    assert eval(SEEN, session.namespace) == eval(SEEN, native)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("size", SIZES)
def test_after_an_error_whose_traceback_is_kept(session: Session, size: int) -> None:
    """A notebook keeps the last error, and with it the frames that it went through."""
    session.namespace.update(kinds(size))
    reads = f"_ = {', '.join(kinds(size))}\n"
    with pytest.raises(ZeroDivisionError) as first:
        session.run(f"{reads}fresh = bytearray({size})\n1 / 0")
    exec(USES, session.namespace)
    session.namespace["fresh"].extend(b"x")
    session.namespace["lock"] = threading.Lock()
    with pytest.raises(TransferError) as second:
        session.run(f"{reads}fresh\nlock")
    exec(USES, session.namespace)
    session.namespace["fresh"].extend(b"x")
    assert first.traceback
    assert second.traceback


def test_a_read_only_array_can_be_made_writeable_by_its_owner(session: Session) -> None:
    fixed = np.arange(1000)
    fixed.flags.writeable = False
    session.namespace["fixed"] = fixed
    assert session.run("state = fixed.flags.writeable\nfixed.flags.writeable = True\nstate, fixed.flags.writeable") == (
        False,
        True,
    )
