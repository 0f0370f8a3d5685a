"""The meter of container-seconds: what Modal would bill, from the start of each container to the end of its process.

Seconds are differences of one monotonic clock. The variable `MODAL_GPU_METER` names a file that has the rows as JSON,
written again whenever a container starts or ends: a test reads it while the server runs. A lasting server writes them
also without the variable, and whether or not a client is connected.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from modal_gpu_magic.control_plane.scheduling.state import Container

MOST_ROWS: Final = 1000
"""Most ended containers that are kept; the oldest are dropped."""
Row = dict[str, object]


class UsageMeter:
    """Container-seconds by container. `path`: file for the rows; None: none is written."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._rows: dict[str, Row] = {}

    @property
    def rows(self) -> list[Row]:
        """One row a container: id, app, function, GPUs, node, start and end, seconds, exit code; None: it runs."""
        return list(self._rows.values())

    def begin(self, container: Container) -> None:
        """Begin to count a container."""
        self._rows[container.id] = {
            "container": container.id,
            "app": container.function.app.name or container.function.app.description,
            "app_id": container.function.app.id,
            "function": container.function.definition.function_name,
            "gpu": str(container.function.gpus[0]) if container.function.gpus else None,
            "node": container.rank,
            "started_at": container.started_at,
            "ended_at": None,
            "seconds": None,
            "exit_code": None,
        }
        self._write()

    def end(self, container: Container, code: int, ended: float) -> None:
        """End the count of a container, whose process ended at `ended` of the monotonic clock."""
        self._end(self._rows[container.id], code, ended - container.started)
        for row in [each for each in self._rows.values() if each["ended_at"]][:-MOST_ROWS]:
            del self._rows[str(row["container"])]
        self._write()

    def close(self) -> None:
        """End the count of containers that the server has killed and not waited for."""
        for row in self._rows.values():
            if row["ended_at"] is None:
                self._end(row, -9, time.time() - float(str(row["started_at"])))
        self._write()

    @staticmethod
    def _end(row: Row, code: int, seconds: float) -> None:
        row.update(ended_at=float(str(row["started_at"])) + seconds, seconds=seconds, exit_code=code)

    def _write(self) -> None:
        if self._path is not None:
            unfinished = self._path.with_name(f"{self._path.name}.new")
            unfinished.write_text(json.dumps(self.rows, indent=1))
            unfinished.replace(self._path)
