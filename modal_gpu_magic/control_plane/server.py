"""Assemble, start and stop the control plane."""

from __future__ import annotations

import asyncio
import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from modal_gpu_magic.control_plane.containers.fork_server import ForkServer, ForkServers
from modal_gpu_magic.control_plane.containers.lifecycle import Containers
from modal_gpu_magic.control_plane.containers.server_dirs import ServerDirs, clear_dead
from modal_gpu_magic.control_plane.containers.setup import ContainerSetup
from modal_gpu_magic.control_plane.containers.usage_meter import UsageMeter
from modal_gpu_magic.control_plane.files.loopback import Loopback
from modal_gpu_magic.control_plane.images.contents import Contents
from modal_gpu_magic.control_plane.rpc.credentials import Token
from modal_gpu_magic.control_plane.rpc.listener import RpcEndpoint, listen, rpcs_of
from modal_gpu_magic.control_plane.scheduling.gpu_pool import GpuPool
from modal_gpu_magic.control_plane.scheduling.result_archive import ResultArchive
from modal_gpu_magic.control_plane.scheduling.scheduler import Scheduler
from modal_gpu_magic.control_plane.scheduling.state import State
from modal_gpu_magic.control_plane.servicers.apps import Apps
from modal_gpu_magic.control_plane.servicers.blobs import Blobs
from modal_gpu_magic.control_plane.servicers.calls import Calls
from modal_gpu_magic.control_plane.servicers.containers import ContainerSide
from modal_gpu_magic.control_plane.servicers.deployments import Deployments
from modal_gpu_magic.control_plane.servicers.dicts import Dicts
from modal_gpu_magic.control_plane.servicers.functions import Functions, container_arguments
from modal_gpu_magic.control_plane.servicers.images import Images
from modal_gpu_magic.control_plane.servicers.mounts import Mounts
from modal_gpu_magic.control_plane.servicers.queues import Queues
from modal_gpu_magic.control_plane.servicers.secrets import Secrets
from modal_gpu_magic.control_plane.servicers.volume_files import VolumeFiles
from modal_gpu_magic.control_plane.servicers.volumes import Volumes
from modal_gpu_magic.control_plane.servicers.workspaces import Workspaces

if TYPE_CHECKING:
    from grpclib.server import Server as GrpcServer

METER = "MODAL_GPU_METER"
"""Environment variable with the path of a file to which the server writes the container-seconds."""

STOP_SECONDS = 0.5
"""Longest time that a stopping server waits for its containers to end."""


class ControlPlane:
    """One running control plane.

    Attributes:
        directories: its directories.
        token: the client's token.
        socket: where clients connect.
        state: its objects.
        rpcs: what it answers, by the name of the RPC.
        meter_path: file with the container-seconds; None: none is written.
    """

    def __init__(
        self,
        directories: ServerDirs,
        first: ForkServer | None,
        cancel_grace: float,
        *,
        detachable: bool = True,
        meter: Path | None = None,
    ) -> None:
        """Assemble the server.

        Args:
            directories: its directories.
            first: a fork server that runs, or None.
            cancel_grace: seconds that a container may ignore a cancellation.
            detachable: whether the server outlives its clients, so that apps may be detached.
            meter: file for the container-seconds, where the environment names none.
        """
        self.directories = directories
        self.token = Token(f"ak-{os.urandom(8).hex()}", f"as-{os.urandom(24).hex()}")
        self.socket = directories.root / "api"
        self.state = State()
        pool, images = GpuPool(), Images(self.state)
        contents = Contents(directories.root / "contents")
        container_setup = ContainerSetup(self.state, pool, contents, images.images, directories.root)
        self.meter_path = Path(path) if (path := os.environ.get(METER)) else meter
        self._meter = UsageMeter(self.meter_path)
        self._containers = Containers(ForkServers(directories.root, first), container_setup, self._meter)
        self._scheduler = Scheduler(self.state, self._containers, pool, cancel_grace)
        self._archive = ResultArchive(directories.disk / "results")
        self._loopback = Loopback()
        blobs = Blobs(directories.root / "blobs", self._loopback)
        apps = Apps(self.state, self._scheduler, detachable=detachable)
        functions = Functions(self.state, self._scheduler, pool)
        self.rpcs = rpcs_of(
            apps,
            functions,
            Deployments(self.state, self._scheduler, functions, lasting=detachable),
            Calls(self.state, self._scheduler, self._archive),
            ContainerSide(self.state, self._scheduler),
            images,
            Mounts(self.state, contents, blobs),
            blobs,
            Queues(),
            Dicts(),
            Secrets(self.state),
            Volumes(self.state, directories.disk / "volumes"),
            Workspaces(self._meter),
            VolumeFiles(self.state, contents, self._loopback),
        )
        self._containers.connect(self.rpcs, partial(container_arguments, self.state), self._scheduler.ended)
        self._server: GrpcServer | None = None
        self._used_at = time.monotonic()
        self._background_tasks: list[asyncio.Task[None]] = [asyncio.get_running_loop().create_task(apps.reap())]

    @property
    def hello(self) -> dict[str, object]:
        """Connection details for a client."""
        return {
            "url": f"unix://{self.socket}",
            "token_id": self.token.id,
            "token_secret": self.token.secret,
            "store": str(self.directories.store),
            "pid": os.getpid(),
        }

    def idle_seconds(self) -> float:
        """Return for how long no client has asked for anything; 0 while an app is deployed, or anything runs."""
        if any(not app.done for app in self.state.users_apps) or self.state.containers():
            self._note_use()
        return time.monotonic() - self._used_at

    def _note_use(self) -> None:
        self._used_at = time.monotonic()

    async def start(self) -> None:
        """Start to accept connections."""
        endpoint = RpcEndpoint(self.rpcs, credentials=self.token, on_request=self._note_use)
        self._server = await listen(endpoint, self.socket)
        self._background_tasks.append(asyncio.get_running_loop().create_task(asyncio.to_thread(clear_dead)))

    async def stop(self) -> None:
        """Kill all containers and remove all files, within a second."""
        for task in self._background_tasks:
            task.cancel()
        if self._server is not None:
            self._server.close()
        self._containers.end_all()
        await self._loopback.close()
        await self._containers.all_gone(STOP_SECONDS)
        self._archive.close()
        self._meter.close()
        self.directories.remove()
