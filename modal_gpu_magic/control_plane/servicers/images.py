"""Images: chains of layers. pip installs, files and variables are applied; the build log lists everything else."""

# ruff: noqa: ARG002 - every RPC is called with (request, peer)

from __future__ import annotations

import asyncio
import os
import platform
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from modal_proto import api_pb2

from modal_gpu_magic.control_plane.containers.inherited import inherited
from modal_gpu_magic.control_plane.fields import variables
from modal_gpu_magic.control_plane.images import overlays
from modal_gpu_magic.control_plane.images.image import Image
from modal_gpu_magic.control_plane.images.installs import PipInstall, is_nvidia_only, without_cuda
from modal_gpu_magic.control_plane.images.layers import Layer, read_layer
from modal_gpu_magic.control_plane.messages import known
from modal_gpu_magic.control_plane.refusals import entry, found, seconds
from modal_gpu_magic.control_plane.scheduling.gpu_pool import driver
from modal_gpu_magic.control_plane.scheduling.state import App, Container, MountedFile, State, new_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

SUCCESS = api_pb2.GenericResult(status=api_pb2.GenericResult.GENERIC_STATUS_SUCCESS)


class Images:
    """RPCs of images. `images` has all images by id."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._builder = App(new_id("ap"), detached=True, description="image builds", internal=True)
        state.apps[self._builder.id] = self._builder
        self._by_definition: dict[bytes, Image] = {}
        self._builds: set[asyncio.Task[None]] = set()
        self.images: dict[str, Image] = {}

    async def ImageGetOrCreate(
        self, request: api_pb2.ImageGetOrCreateRequest, peer: Container | None
    ) -> api_pb2.ImageGetOrCreateResponse:
        """Record a layer. Without anything to build, or built before, the image is ready; else the client joins."""
        key = request.image.SerializeToString(deterministic=True)
        image = self._by_definition.get(key)
        if image is None or request.force_build or _failed(image):
            image = self._by_definition[key] = self._new(request)
            self.images[image.id] = image
            if not image.layer.installs and not image.layer.not_applied:
                image.finish(SUCCESS)
            else:
                self._start_build(image, force=request.force_build)
        done = image.result if image.result is not None else api_pb2.GenericResult()
        return known(
            api_pb2.ImageGetOrCreateResponse,
            image_id=image.id,
            result=done,
            metadata=_metadata(image),
        )

    async def ImageJoinStreaming(
        self, request: api_pb2.ImageJoinStreamingRequest, peer: Container | None
    ) -> AsyncIterator[api_pb2.ImageJoinStreamingResponse]:
        """Follow a build's log from an entry on, for at most `timeout` seconds; the result comes last."""
        image = found(self.images, request.image_id, "image")
        seen, end = entry(request.last_entry_id), time.monotonic() + (seconds(request.timeout) or 55)
        while True:
            while seen < len(image.lines):
                item = api_pb2.TaskLogs(
                    data=image.lines[seen],
                    file_descriptor=api_pb2.FILE_DESCRIPTOR_STDOUT,
                    timestamp=time.time(),
                )
                seen += 1
                yield api_pb2.ImageJoinStreamingResponse(task_logs=[item], entry_id=str(seen))
            if image.result is not None:
                yield known(
                    api_pb2.ImageJoinStreamingResponse,
                    result=image.result,
                    metadata=_metadata(image),
                    entry_id=str(seen),
                    eof=True,
                )
                return
            left = end - time.monotonic()
            if left <= 0 or not await image.broadcast.wait(left):
                return

    async def ImageFromId(
        self, request: api_pb2.ImageFromIdRequest, peer: Container | None
    ) -> api_pb2.ImageFromIdResponse:
        """Return an image for `Image.from_id`."""
        image = found(self.images, request.image_id, "image")
        return known(api_pb2.ImageFromIdResponse, image_id=image.id, metadata=_metadata(image))

    async def ImageBuildChainGet(
        self, request: api_pb2.ImageBuildChainGetRequest, peer: Container | None
    ) -> api_pb2.ImageBuildChainGetResponse:
        """Return where the logs of an image's layers are, the base's first."""
        image: Image | None = found(self.images, request.image_id, "image")
        steps: list[api_pb2.ImageBuildStep] = []
        while image is not None:
            step = api_pb2.ImageBuildStep(image_id=image.id, builder_app_id=self._builder.id, builder_task_id=image.id)
            step.started_at.FromMilliseconds(int(image.began_at * 1e3))
            step.finished_at.GetCurrentTime()
            steps.insert(0, step)
            image = image.base
        return api_pb2.ImageBuildChainGetResponse(build_steps=steps)

    def _new(self, request: api_pb2.ImageGetOrCreateRequest) -> Image:
        definition = request.image
        texts = {file.filename: file.data.decode("utf-8", "replace") for file in definition.context_files}
        layer = read_layer(definition.dockerfile_commands, texts)
        variables(dict(layer.environment), "The image")
        if definition.HasField("build_function"):
            layer = Layer(not_applied=("run_function",))
        base = next((self.images.get(each.image_id) for each in definition.base_images), None)
        secrets: dict[str, str] = {}
        for secret_id in definition.secret_ids:
            secrets.update(found(self._state.secrets, secret_id, "secret").values)
        files = tuple(_copied(layer, self._state.mounts.get(definition.context_mount_id, ())))
        return Image(
            new_id("im"), layer, base, request.builder_version, secrets, own_files=files, log=self._builder.log
        )

    def _start_build(self, image: Image, *, force: bool) -> None:
        task = asyncio.get_running_loop().create_task(_build(image, force=force))
        self._builds.add(task)
        task.add_done_callback(self._builds.discard)


async def _build(image: Image, *, force: bool) -> None:
    """Build the overlays of a layer's installs, and log what is not applied."""
    for instruction in image.layer.not_applied:
        image.say(f"Not applied by the local backend: {instruction}\n")
    try:
        for install in image.layer.installs:
            await _add(image, install, force=force)
    except overlays.BuildFailed as failed:
        status = api_pb2.GenericResult.GENERIC_STATUS_FAILURE
        image.finish(api_pb2.GenericResult(status=status, exception=str(failed)))
    except (OSError, ValueError, LookupError) as error:
        status = api_pb2.GenericResult.GENERIC_STATUS_FAILURE
        image.finish(api_pb2.GenericResult(status=status, exception=f"Cannot build the overlay: {error}"))
    else:
        image.finish(SUCCESS)


async def _add(image: Image, install: PipInstall, *, force: bool) -> None:
    """Build the overlay of one install, unless its packages are installed."""
    below = image.overlays
    if driver() is None:
        install = _without_nvidia(image, install)
    if not force and overlays.satisfied(install, below):
        if install.packages:
            image.say(f"Already installed: {' '.join(install.packages)}\n")
        return
    image.say(f"=> RUN python -m pip install {' '.join(install.packages)}\n")
    kernel = inherited(os.environ)  # a build on Modal has no variable of the notebook's machine
    path = await overlays.build(install, below, image.build_secrets, image.say, kernel=kernel, force=force)
    image.own_overlays.append(path)


def _without_nvidia(image: Image, install: PipInstall) -> PipInstall:
    """Remove, and log, packages for NVIDIA GPUs only, which would compile for minutes or download gigabytes."""
    packages = [without_cuda(each) for each in install.packages]
    out = [each for each in packages if is_nvidia_only(each) and not overlays.satisfied(PipInstall((each,)), [])]
    for each in out:
        image.left_out.append(f"pip install {each} (for NVIDIA GPUs only)")
        image.say(f"Not applied by the local backend: {image.left_out[-1]}\n")
    return replace(install, packages=tuple(each for each in packages if each not in out))


def _copied(layer: Layer, context: Iterable[MountedFile]) -> Iterator[MountedFile]:
    """Yield the context's files at the paths to which the layer's COPY lines copy them."""
    for copy in layer.copies:
        for file in context:
            if path := copy.of(file.remote_path):
                yield replace(file, remote_path=path)


def _failed(image: Image) -> bool:
    return image.result is not None and image.result.status != SUCCESS.status


def _metadata(image: Image) -> api_pb2.ImageMetadata:
    return known(
        api_pb2.ImageMetadata,
        image_builder_version=image.builder_version,
        python_version_info=f"Python {platform.python_version()}",
    )
