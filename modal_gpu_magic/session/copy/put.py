"""`put`: files and folders of this machine onto a Volume. What is there already is not sent again."""

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
from modal_gpu_magic.sdk.client import chosen, connect
from modal_gpu_magic.sdk.files import VolumeFiles
from modal_gpu_magic.session.copy.background import Job, Progress, Show, silent
from modal_gpu_magic.session.copy.upload_index import Notes, digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from modal_gpu_magic.sdk.client import Kind
    from modal_gpu_magic.wire.messages.events import FileThere

BATCH_BYTES, BATCH_FILES = 64_000_000, 200
"""How much goes at once: what an interruption costs at most, less what Modal keeps of it."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy did. `unchanged` files were there already; `place` is where the others went."""

    place: str
    files: int
    nbytes: int
    unchanged: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Sent:
    """A file that is on the Volume now, with the hash of its content; `stamp` is that of the content."""

    here: Path
    digest: str
    stamp: tuple[int, int]


def put(local: str | Path, remote: str, *, backend: Kind | None = None, show: Show = silent) -> Copied:
    """Copy a file, or a folder with all below it, onto a Volume, which is created if need be.

    A folder's content goes to the path itself: `put("runs", "data:/runs")` twice is the same as once. With a slash at
    the end of the path it goes into that folder, under its own name. Interrupted, the next `put` goes on where it was.

    Args:
        local: what to copy.
        remote: `VOLUME:/path`; `VOLUME:` is its root.
        backend: whose Volume, `cloud` or `local`; None: where cells run.
        show: called some times a second with the bytes done.

    Raises:
        CopyError: `local` or `remote` cannot be copied so; nothing was sent.
        KeyboardInterrupt: it was stopped; what has arrived stays.
        ModalGpuError: the backend refused it, or is gone.
    """
    place, source = Place.read(remote), Path(local).expanduser()
    if place.is_session:
        raise CopyError("put goes to a Volume; a small file that a cell names literally travels by itself.")
    if not source.exists():
        raise CopyError(_not_here(source))
    progress, kind = Progress(), chosen(backend)
    return Job(lambda: _put(source, source.resolve().name, place, kind, progress)).run(progress, show)


async def _put(source: Path, name: str, place: Place, backend: Kind, progress: Progress) -> Copied:
    began = time.monotonic()
    reachable = await asyncio.to_thread(connect, backend)
    volume = await VolumeFiles.open(reachable, place.volume, create=True)
    below = dict(_below(source))
    place = await _target(volume, name, place, is_folder="" not in below)
    files = {place.below(path).path: here for path, here in below.items()}
    progress.total = sum(here.stat().st_size for here in files.values())
    there = await volume.files(place.path)
    notes, sent = Notes(volume.key), dict[str, _Sent]()
    unchanged = await _skip_unchanged(files, there, notes, progress)
    try:
        for batch in _batches({path: here for path, here in files.items() if path not in unchanged}):
            progress.name = next(iter(batch))
            sent.update(await _send(volume, batch))
            progress.done += sum(here.stat().st_size for here in batch.values())
    finally:
        with suppress(Exception):  # what is not remembered costs a transfer, and hides no error
            await _remember(volume, place, sent, notes)
    return Copied(
        str(place), len(sent), sum(each.stamp[1] for each in sent.values()), len(unchanged), time.monotonic() - began
    )


async def _target(volume: VolumeFiles, name: str, place: Place, *, is_folder: bool) -> Place:
    """Where the source goes: into a folder under its own name, or to the path itself."""
    if place.into:
        return place.below(name)
    if is_folder:
        return place
    found = await volume.entries(place.path, recursive=False)
    has_folder = found is not None and [each.file.path for each in found] != [place.path]
    return place.below(name) if has_folder else place


def _below(source: Path) -> Iterator[tuple[str, Path]]:
    """The files below a folder, links to files included, by their paths below it; a file itself by none."""
    if source.is_file():
        yield "", source
    for here in sorted(source.rglob("*")) if source.is_dir() else ():
        if here.is_file():
            yield here.relative_to(source).as_posix(), here


async def _skip_unchanged(
    files: Mapping[str, Path], there: Mapping[str, FileThere], notes: Notes, progress: Progress
) -> set[str]:
    """The paths whose content is on the Volume. Only files that may be are read."""
    unchanged = set[str]()
    for path, here in files.items():
        note, size = notes.of(path), here.stat().st_size
        if note is None or path not in there or size != there[path].nbytes:
            continue
        progress.name = path
        if is_unchanged(note, there[path], await digest_of(here)):
            unchanged.add(path)
            progress.done += size
    return unchanged


def _batches(files: dict[str, Path]) -> Iterator[dict[str, Path]]:
    batch: dict[str, Path] = {}
    nbytes = 0
    for path, here in files.items():
        size = here.stat().st_size
        if batch and (nbytes + size > BATCH_BYTES or len(batch) >= BATCH_FILES):
            yield batch
            batch, nbytes = {}, 0
        batch[path] = here
        nbytes += size
    if batch:
        yield batch


async def _send(volume: VolumeFiles, batch: dict[str, Path]) -> dict[str, _Sent]:
    sent = {path: _Sent(here, await digest_of(here), _stamp(here)) for path, here in batch.items()}
    await volume.put(batch)
    return sent


async def _remember(volume: VolumeFiles, place: Place, sent: dict[str, _Sent], notes: Notes) -> None:
    """Note what was sent, as the Volume lists it, once the second is over: whatever is written there later differs."""
    if not sent:
        return
    there = await volume.files(place.path)
    newest = max((there[path].changed for path in sent if path in there), default=0)
    await asyncio.sleep(min(1.0, max(0.0, newest + 1 - time.time())) if volume.same_clock else 1.0)
    notes.keep(
        {
            path: Note(there[path].nbytes, there[path].changed, each.digest)
            for path, each in sent.items()
            if path in there and each.stamp == _stamp(each.here) and each.stamp[1] == there[path].nbytes
        }
    )


def _stamp(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_mtime_ns, facts.st_size


def _not_here(source: Path) -> str:
    beside = source.parent.iterdir() if source.parent.is_dir() else ()
    near = nearest(source.name, [each.name for each in beside])
    meant = f"did you mean {either([str(source.parent / each) for each in near])}?" if near else "nothing was sent."
    return f"there is no {source} here; {meant}"
