"""`put`: copy local files and folders to a Volume. Unchanged files are not sent again."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modal_gpu_magic.catalog.nearest import either, nearest
from modal_gpu_magic.errors import CopyError
from modal_gpu_magic.plan.copy.copies import Note, is_unchanged
from modal_gpu_magic.plan.copy.places import Place
from modal_gpu_magic.sdk.choice import chosen
from modal_gpu_magic.sdk.client import connect
from modal_gpu_magic.sdk.files import VolumeFiles
from modal_gpu_magic.session.copy.background import Job, Progress, Show, silent
from modal_gpu_magic.session.copy.upload_index import Notes, digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from modal_gpu_magic.sdk.choice import Kind
    from modal_gpu_magic.wire.messages.events import RemoteFile

BATCH_BYTES, BATCH_FILES = 64_000_000, 200
"""Maximum size in bytes and number of files of one upload; an interruption repeats at most one upload."""


@dataclass(frozen=True, slots=True)
class Copied:
    """The result of a copy.

    Attributes:
        place: the target.
        files: number of copied files.
        nbytes: size of the copied files, bytes.
        unchanged: number of files that were not copied because the target had them.
        seconds: duration, seconds.
        note: what is to be known of the files; empty: nothing.
    """

    place: str
    files: int
    nbytes: int
    unchanged: int
    seconds: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class _Sent:
    """An uploaded file.

    Attributes:
        local: the local path.
        digest: hash of the content.
        stamp: modification time in nanoseconds and size in bytes when the content was read.
    """

    local: Path
    digest: str
    stamp: tuple[int, int]


def put(local: str | Path, remote: str, *, backend: Kind | None = None, show: Show = silent) -> Copied:
    """Copy a file, or a folder with all its content, to a Volume, which is created if necessary.

    The content of a folder is written to the path: `put("runs", "data:/runs")` twice has the same result as once. If
    the path ends with a slash, the folder is written below the path under its own name. After an interruption, the
    next `put` sends the rest.

    Args:
        local: the file or folder to copy.
        remote: `VOLUME:/path`; `VOLUME:` is the root of the Volume.
        backend: backend of the Volume, `cloud` or `local`; None: the backend of cells.
        show: called several times a second with the progress.

    Raises:
        CopyError: `local` or `remote` is not valid; nothing was sent.
        KeyboardInterrupt: ■ was pressed; uploaded files are kept.
        ModalGpuError: the backend refused the request or was lost.
    """
    place, source = Place.read(remote), Path(local).expanduser()
    if place.is_session:
        raise CopyError("put copies to a Volume; a small file that a cell names is sent without it.")
    if not source.exists():
        raise CopyError(_missing(source))
    progress, kind = Progress(), chosen(backend)
    return Job(lambda: _put(source, source.resolve().name, place, kind, progress)).run(progress, show)


async def _put(source: Path, name: str, place: Place, backend: Kind, progress: Progress) -> Copied:
    began = time.monotonic()
    reachable = await asyncio.to_thread(connect, backend)
    volume = await VolumeFiles.open(reachable, place.volume, create=True)
    below = dict(_below(source))
    place = await _target(volume, name, place, is_folder="" not in below)
    files = {place.below(path).path: local for path, local in below.items()}
    progress.total = sum(local.stat().st_size for local in files.values())
    listed = await volume.files(place.path)
    notes, sent = Notes(volume.key), dict[str, _Sent]()
    unchanged = await _skip_unchanged(files, listed, notes, progress)
    try:
        for batch in _batches({path: local for path, local in files.items() if path not in unchanged}):
            progress.name = next(iter(batch))
            sent.update(await _send(volume, batch))
            progress.done += sum(local.stat().st_size for local in batch.values())
    finally:
        with suppress(Exception):  # a missing record costs a transfer; the error of the upload must not be hidden
            await _remember(volume, place, sent, notes)
    return Copied(
        str(place), len(sent), sum(each.stamp[1] for each in sent.values()), len(unchanged), time.monotonic() - began
    )


async def _target(volume: VolumeFiles, name: str, place: Place, *, is_folder: bool) -> Place:
    """The target: the path itself, or the source's name in the folder at the path."""
    if place.into:
        return place.below(name)
    if is_folder:
        return place
    found = await volume.entries(place.path, recursive=False)
    has_folder = found is not None and [each.file.path for each in found] != [place.path]
    return place.below(name) if has_folder else place


def _below(source: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files below a folder, links to files included, with their relative paths; for a file, an empty path."""
    if source.is_file():
        yield "", source
    for local in sorted(source.rglob("*")) if source.is_dir() else ():
        if local.is_file():
            yield local.relative_to(source).as_posix(), local


async def _skip_unchanged(
    files: Mapping[str, Path], listed: Mapping[str, RemoteFile], notes: Notes, progress: Progress
) -> set[str]:
    """The paths whose content is already on the Volume. Reads only files whose record and size match."""
    unchanged = set[str]()
    for path, local in files.items():
        note, size = notes.of(path), local.stat().st_size
        if note is None or path not in listed or size != listed[path].nbytes:
            continue
        progress.name = path
        if is_unchanged(note, listed[path], await digest_of(local)):
            unchanged.add(path)
            progress.done += size
    return unchanged


def _batches(files: dict[str, Path]) -> Iterator[dict[str, Path]]:
    batch: dict[str, Path] = {}
    nbytes = 0
    for path, local in files.items():
        size = local.stat().st_size
        if batch and (nbytes + size > BATCH_BYTES or len(batch) >= BATCH_FILES):
            yield batch
            batch, nbytes = {}, 0
        batch[path] = local
        nbytes += size
    if batch:
        yield batch


async def _send(volume: VolumeFiles, batch: dict[str, Path]) -> dict[str, _Sent]:
    sent = {path: _Sent(local, await digest_of(local), _stamp(local)) for path, local in batch.items()}
    await volume.put(batch)
    return sent


async def _remember(volume: VolumeFiles, place: Place, sent: dict[str, _Sent], notes: Notes) -> None:
    """Record the uploaded files as the Volume lists them, after the second ends, so that a later write differs."""
    if not sent:
        return
    listed = await volume.files(place.path)
    newest = max((listed[path].changed for path in sent if path in listed), default=0)
    await asyncio.sleep(min(1.0, max(0.0, newest + 1 - time.time())) if volume.same_clock else 1.0)
    notes.keep(
        {
            path: Note(listed[path].nbytes, listed[path].changed, each.digest)
            for path, each in sent.items()
            if path in listed and each.stamp == _stamp(each.local) and each.stamp[1] == listed[path].nbytes
        }
    )


def _stamp(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_mtime_ns, facts.st_size


def _missing(source: Path) -> str:
    beside = source.parent.iterdir() if source.parent.is_dir() else ()
    near = nearest(source.name, [each.name for each in beside])
    meant = f"did you mean {either([str(source.parent / each) for each in near])}?" if near else "nothing was sent."
    return f"{source} does not exist; {meant}"
