"""Results of finished calls on disk. A server that lives for days keeps results as Modal does, and needs no memory."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

from modal_proto import api_pb2

from modal_gpu_magic.control_plane.scheduling.state import Call, Input

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from modal_gpu_magic.control_plane.scheduling.state import Function

MOST_CALLS: Final = 10_000
"""Most calls whose results are kept, in memory or in the file. Modal keeps results for 7 days."""
MOST_BYTES: Final = 1 << 30
"""Most bytes of these results, in memory or in the file."""

_TABLE: Final = (
    "CREATE TABLE calls (number INTEGER PRIMARY KEY, id TEXT UNIQUE, function TEXT, invocation INTEGER, input TEXT, "
    "attempt INTEGER, created_at REAL, outputs BLOB)"
)


class ResultArchive:
    """Finished calls of one input, with their results. The oldest ones are dropped beyond a limit.

    Args:
        path: the file, which must not exist. The server that writes the file is its only reader.
        most_calls: most calls.
        most_bytes: most bytes of results.
    """

    def __init__(self, path: Path, most_calls: int = MOST_CALLS, most_bytes: int = MOST_BYTES) -> None:
        self._most_calls, self._most_bytes = most_calls, most_bytes
        self._count = self._nbytes = 0
        self._database = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -256"):  # the file ends with the server
            self._database.execute(f"PRAGMA {pragma}")
        self._database.execute(_TABLE)

    def store(self, call: Call) -> None:
        """Write a finished call of one input."""
        (each,) = call.inputs.values()
        outputs = api_pb2.FunctionGetOutputsResponse(outputs=call.completed).SerializeToString()
        row = call.id, call.function.id, call.invocation, each.id, each.attempt, call.created_at, outputs
        self._database.execute("INSERT INTO calls VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)", row)
        self._count += 1
        self._nbytes += len(outputs)
        while self._count > self._most_calls or self._nbytes > self._most_bytes:
            self._drop_oldest()

    def load(self, call_id: str, functions: Mapping[str, Function]) -> Call | None:
        """Return a call; None: no such call is kept, or its function is gone with its app."""
        found = self._database.execute(
            "SELECT function, invocation, input, attempt, created_at, outputs FROM calls WHERE id = ?", (call_id,)
        ).fetchone()
        if found is None or found[0] not in functions:
            return None
        function, invocation, input_id, attempt, created_at, outputs = found
        call = Call(call_id, functions[function], invocation, was_read=True, created_at=created_at)
        call.completed.extend(api_pb2.FunctionGetOutputsResponse.FromString(outputs).outputs)
        call.outputs.update({output.idx: output for output in call.completed})
        index = call.completed[-1].idx
        call.inputs[input_id] = Input(input_id, call, index, api_pb2.FunctionInput(), attempt, done=True)
        return call

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _drop_oldest(self) -> None:
        number, nbytes = self._database.execute(
            "SELECT number, LENGTH(outputs) FROM calls ORDER BY number LIMIT 1"
        ).fetchone()
        self._database.execute("DELETE FROM calls WHERE number = ?", (number,))
        self._count -= 1
        self._nbytes -= nbytes
