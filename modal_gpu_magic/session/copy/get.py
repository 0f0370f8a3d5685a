"""`get` and `ls`: files of a Volume, or of the session's container, fetched and listed."""

from __future__ import annotations

import asyncio
import os
import posixpath
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from modal_gpu_magic.errors import CopyError
from modal_gpu_magic.plan.copy.copies import SECOND, FileHere, Standing, is_unchanged, standing
from modal_gpu_magic.plan.copy.places import Place, goes_into
from modal_gpu_magic.sdk.client import chosen, connect
from modal_gpu_magic.sdk.files import Entry, VolumeFiles, names
from modal_gpu_magic.session.copy.background import Job, Progress, Show, silent, together
from modal_gpu_magic.session.copy.put import Copied
from modal_gpu_magic.session.copy.upload_index import Notes, digest_of
from modal_gpu_magic.wire.messages.events import FileThere

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from modal_gpu_magic.sdk.client import Kind
    from modal_gpu_magic.session.facade import Session

ONE_PIECE = 8 << 20
"""Bytes. A larger file is fetched by itself: the SDK has many pieces of it on their way at a time."""
TOLD = 3
"""How many files in the way are named."""


class Source(Protocol):
    """Where files are fetched from."""

    async def files(self, path: str) -> dict[str, FileThere]:
        """The file at a path, or all files below it, by their paths; empty: there is none."""

    def read(self, file: FileThere) -> AsyncIterator[bytes]:
        """The content of a file, piece by piece."""

    async def no_path(self, place: Place) -> str:
        """The sentence for a path where nothing is."""


@dataclass(frozen=True, slots=True)
class _Fetch:
    """One file to be fetched: what it is there, and where it goes."""

    there: FileThere
    here: Path


def get(
    remote: str,
    local: str | Path = ".",
    *,
    force: bool = False,
    backend: Kind | None = None,
    session: Session | None = None,
    show: Show = silent,
) -> Copied:
    """Copy a file, or a folder with all below it, from a Volume or from the session's container.

    A folder's content goes to `local` itself, or into it under its own name if that is `.` or ends with a slash; a
    file goes into a folder that exists. What is here already is not fetched again; interrupted, the next `get` goes on.

    Args:
        remote: `VOLUME:/path`, or `session:path` for what a cell wrote.
        local: where it goes.
        force: overwrite files that are something else.
        backend: whose Volume, `cloud` or `local`; None: where cells run.
        session: for `session:path`.
        show: called some times a second with the bytes done.

    Raises:
        CopyError: nothing is there, or something here is in the way; nothing was fetched.
        KeyboardInterrupt: it was stopped; whole files stay.
        ModalGpuError: the backend refused it, or is gone.
    """
    place, progress, kind = Place.read(remote), Progress(), chosen(backend)
    return Job(lambda: _get(place, str(local), kind, session, progress, force=force)).run(progress, show)


def ls(remote: str = "", *, backend: Kind | None = None, session: Session | None = None) -> list[Entry]:
    """What is in a folder of a Volume, or of the session's container; without a place, the Volumes, as folders.

    Raises:
        CopyError: nothing is there. ModalGpuError: the backend refused it, or is gone.
    """
    place = Place.read(remote if not remote or ":" in remote else f"{remote}:") if remote else None
    kind = chosen(backend)
    return Job(lambda: _ls(place, kind, session)).run(Progress())


async def _get(
    place: Place, local: str, backend: Kind, session: Session | None, progress: Progress, *, force: bool
) -> Copied:
    began = time.monotonic()
    source = await _source(place, backend, session)
    found = await source.files(place.path)
    if not found:
        raise CopyError(await source.no_path(place))
    fetches = [_Fetch(there, target) for there, target in _targets(place, found, local)]
    progress.total = sum(each.there.nbytes for each in fetches)
    notes = Notes(source.key) if isinstance(source, VolumeFiles) else None
    standings = {each.here: await _standing(each, notes) for each in fetches}
    in_the_way = [each.here for each in fetches if standings[each.here] == "other"]
    if in_the_way and not force:
        raise CopyError(_in_the_way(in_the_way))
    wanted = [each for each in fetches if standings[each.here] != "same"]
    progress.done = progress.total - sum(each.there.nbytes for each in wanted)
    await together([partial(_fetch, source, each, progress) for each in wanted if each.there.nbytes <= ONE_PIECE])
    for each in wanted:
        if each.there.nbytes > ONE_PIECE:
            await _fetch(source, each, progress)
    nbytes = sum(each.there.nbytes for each in wanted)
    return Copied(local, len(wanted), nbytes, len(fetches) - len(wanted), time.monotonic() - began)


async def _ls(place: Place | None, backend: Kind, session: Session | None) -> list[Entry]:
    if place is not None and place.is_session:
        found = await (await _source(place, backend, session)).files(place.path)
        return [Entry("file", each) for each in found.values()]
    reachable = await asyncio.to_thread(connect, backend)
    if place is None:
        return [Entry("folder", FileThere(name, 0, 0)) for name in await names(reachable)]
    volume = await VolumeFiles.open(reachable, place.volume, create=False)
    entries = await volume.entries(place.path, recursive=False)
    if entries is None:
        raise CopyError(await volume.no_path(place))
    return sorted(entries, key=lambda each: each.file.path)


async def _source(place: Place, backend: Kind, session: Session | None) -> Source:
    if not place.is_session:
        return await VolumeFiles.open(await asyncio.to_thread(connect, backend), place.volume, create=False)
    from modal_gpu_magic.session.copy.session_files import SessionFiles

    if session is None:
        raise CopyError("no session has started, so no container has files.")
    return await SessionFiles.open(session)


def _targets(place: Place, found: dict[str, FileThere], local: str) -> list[tuple[FileThere, Path]]:
    """Where each file goes. A path of theirs that leads out of the folder is refused."""
    base = Path(local).expanduser()
    if list(found) == [place.path]:
        into = goes_into(local) or base.is_dir()
        return [(found[place.path], base / place.name if into else base)]
    base = base / place.name if goes_into(local) else base
    targets = [(there, base / posixpath.relpath(path, place.path or ".")) for path, there in found.items()]
    for there, target in targets:
        if ".." in target.relative_to(base).parts:
            raise CopyError(f"{there.path!r} leads out of {place}.")
    return targets


async def _standing(fetch: _Fetch, notes: Notes | None) -> Standing:
    """What is here already; also known again: a file that was put from here, and is still what was put."""
    here = _here(fetch.here)
    found = standing(here, fetch.there)
    if found != "other" or notes is None or here is None or here.nbytes != fetch.there.nbytes:
        return found
    digest = await digest_of(fetch.here)
    return "same" if is_unchanged(notes.of(fetch.there.path), fetch.there, digest) else found


def _here(path: Path) -> FileHere | None:
    if not path.exists():
        return None
    facts = path.stat()
    if not path.is_file():
        raise CopyError(f"{path} is a folder in the kernel's directory; give another target.")
    return FileHere(facts.st_size, facts.st_mtime_ns, facts.st_ctime)


def _in_the_way(paths: list[Path]) -> str:
    told = ", ".join(map(str, paths[:TOLD])) + (f" and {len(paths) - TOLD} more" if len(paths) > TOLD else "")
    verb = "is" if len(paths) == 1 else "are"
    return f"{told} {verb} here already, with another content or of another time; --force overwrites."


async def _fetch(source: Source, fetch: _Fetch, progress: Progress) -> None:
    """Fetch one file: under another name first, so that a half one is never taken for it."""
    progress.name = fetch.there.path
    half = fetch.here.with_name(f".{fetch.here.name}.part-{os.getpid()}")
    try:
        fetch.here.parent.mkdir(parents=True, exist_ok=True)
        with half.open("wb") as file:
            async for piece in source.read(fetch.there):
                file.write(piece)
                progress.done += len(piece)
        os.utime(half, ns=(fetch.there.changed * SECOND, fetch.there.changed * SECOND))
        half.replace(fetch.here)
    except OSError as error:
        raise CopyError(f"{fetch.here} cannot be written: {error}.") from error
    finally:
        half.unlink(missing_ok=True)
