"""An image: one layer on top of a base image, and the log of its build."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from modal_proto import api_pb2

from modal_gpu_magic.control_plane.images.layers import Layer
from modal_gpu_magic.control_plane.scheduling.broadcast import Broadcast
from modal_gpu_magic.control_plane.scheduling.state import Log, MountedFile


@dataclass(slots=True, eq=False)
class Image:
    """One layer on top of a base image, and its build."""

    id: str
    layer: Layer
    base: Image | None
    builder_version: str
    build_secrets: dict[str, str] = field(default_factory=dict, repr=False)
    own_overlays: list[str] = field(default_factory=list)
    own_files: tuple[MountedFile, ...] = ()
    left_out: list[str] = field(default_factory=list)
    """Packages that are useless without an NVIDIA driver, and therefore not installed."""
    log: Log | None = None
    """Log of all builds, for requests after the build."""
    began_at: float = field(default_factory=time.time)
    lines: list[str] = field(default_factory=list)
    result: api_pb2.GenericResult | None = None
    broadcast: Broadcast = field(default_factory=Broadcast)

    @property
    def overlays(self) -> list[str]:
        """Package directories, the topmost layer's first."""
        return [*reversed(self.own_overlays), *(self.base.overlays if self.base else ())]

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables of all layers."""
        return {**(self.base.environment if self.base else {}), **dict(self.layer.environment)}

    @property
    def files(self) -> tuple[MountedFile, ...]:
        """Files that the layers copied; of two files at one path, the topmost layer's comes last."""
        return (*(self.base.files if self.base else ()), *self.own_files)

    @property
    def not_applied(self) -> list[str]:
        """Instructions of all layers that the local backend does not apply."""
        return [*(self.base.not_applied if self.base else ()), *self.layer.not_applied, *self.left_out]

    def say(self, line: str) -> None:
        """Append a line to the build log."""
        self.lines.append(line)
        if self.log is not None:
            item = api_pb2.TaskLogs(data=line, file_descriptor=api_pb2.FILE_DESCRIPTOR_STDOUT, timestamp=time.time())
            self.log.append(api_pb2.TaskLogsBatch(task_id=self.id, items=[item]))
        self.broadcast.notify()

    def finish(self, result: api_pb2.GenericResult) -> None:
        """End the build with a result."""
        self.result = result
        self.broadcast.notify()
