"""`get` and `ls`: fetch and list files of a Volume or of the session's container."""

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
from modal_gpu_magic.sdk.choice import chosen
from modal_gpu_magic.sdk.client import connect
from modal_gpu_magic.sdk.files import Entry, VolumeFiles, names
from modal_gpu_magic.session.copy.background import Job, Progress, Show, silent, together
from modal_gpu_magic.session.copy.put import Copied
from modal_gpu_magic.session.copy.upload_index import Notes, digest_of
from modal_gpu_magic.wire.messages.events import RemoteFile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from modal_gpu_magic.sdk.choice import Kind
    from modal_gpu_magic.session.facade import Session

PARALLEL_BYTES = 8 << 20
"""Maximum size of a file that is fetched in parallel with others, bytes. The SDK splits larger ones itself."""
NAMED = 3
"""Maximum number of conflicting files that an error names."""


class Source(Protocol):
    """A source of files: a Volume or a container."""

    @property
    def note(self) -> str:
        """What is to be known of the files; empty: nothing."""

    async def files(self, path: str) -> dict[str, RemoteFile]:
        """The file at a path, or all files below the path, by path; empty: none exists."""

    def read(self, file: RemoteFile) -> AsyncIterator[bytes]:
        """Yield the content of a file in chunks."""

    async def no_path(self, place: Place) -> str:
        """The error message for a path that does not exist."""


@dataclass(frozen=True, slots=True)
class _Fetch:
    """One file to fetch.

    Attributes:
        remote: the file in the source.
        local: the target path.
    """

    remote: RemoteFile
    local: Path


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

    The content of a folder is written to `local`, or to a folder of the same name in `local` if `local` is `.` or ends
    with a slash. A file is written into an existing folder. Files that exist unchanged are not fetched again; after an
    interruption, the next `get` fetches the rest.

    Args:
        remote: `VOLUME:/path`, or `session:path` for a file that a cell wrote.
        local: the target.
        force: overwrite different files.
        backend: backend of the Volume, `cloud` or `local`; None: the backend of cells.
        session: the session of `session:path`.
        show: called several times a second with the progress.

    Raises:
        CopyError: `remote` does not exist, or different local files exist; nothing was fetched.
        KeyboardInterrupt: ■ was pressed; complete files are kept.
        ModalGpuError: the backend refused the request or was lost.
    """
    place, progress, kind = Place.read(remote), Progress(), chosen(backend)
    return Job(lambda: _get(place, str(local), kind, session, progress, force=force)).run(progress, show)


def ls(remote: str = "", *, backend: Kind | None = None, session: Session | None = None) -> list[Entry]:
    """List a folder of a Volume or of the session's container; without `remote`, list the Volumes as folders.

    Raises:
        CopyError: `remote` does not exist.
        ModalGpuError: the backend refused the request or was lost.
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
    fetches = [_Fetch(remote, target) for remote, target in _targets(place, found, local)]
    progress.total = sum(each.remote.nbytes for each in fetches)
    notes = Notes(source.key) if isinstance(source, VolumeFiles) else None
    standings = {each.local: await _standing(each, notes) for each in fetches}
    conflicts = [each.local for each in fetches if standings[each.local] == "other"]
    if conflicts and not force:
        raise CopyError(_conflict(conflicts))
    wanted = [each for each in fetches if standings[each.local] != "same"]
    progress.done = progress.total - sum(each.remote.nbytes for each in wanted)
    await together([partial(_fetch, source, each, progress) for each in wanted if each.remote.nbytes <= PARALLEL_BYTES])
    for each in wanted:
        if each.remote.nbytes > PARALLEL_BYTES:
            await _fetch(source, each, progress)
    nbytes = sum(each.remote.nbytes for each in wanted)
    return Copied(local, len(wanted), nbytes, len(fetches) - len(wanted), time.monotonic() - began, source.note)


async def _ls(place: Place | None, backend: Kind, session: Session | None) -> list[Entry]:
    if place is not None and place.is_session:
        found = await (await _source(place, backend, session)).files(place.path)
        return [Entry("file", each) for each in found.values()]
    reachable = await asyncio.to_thread(connect, backend)
    if place is None:
        return [Entry("folder", RemoteFile(name, 0, 0)) for name in await names(reachable)]
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


def _targets(place: Place, found: dict[str, RemoteFile], local: str) -> list[tuple[RemoteFile, Path]]:
    """The target path of each file. A remote path that leads out of the folder is refused."""
    base = Path(local).expanduser()
    if list(found) == [place.path]:
        into = goes_into(local) or base.is_dir()
        return [(found[place.path], base / place.name if into else base)]
    base = base / place.name if goes_into(local) else base
    targets = [(remote, base / posixpath.relpath(path, place.path or ".")) for path, remote in found.items()]
    for remote, target in targets:
        if ".." in target.relative_to(base).parts:
            raise CopyError(f"{remote.path!r} leads out of {place}.")
    return targets


async def _standing(fetch: _Fetch, notes: Notes | None) -> Standing:
    """Compare the local with the remote file; an uploaded file counts as `same` while it is unchanged on both sides."""
    local = _local_file(fetch.local)
    found = standing(local, fetch.remote)
    if found != "other" or notes is None or local is None or local.nbytes != fetch.remote.nbytes:
        return found
    digest = await digest_of(fetch.local)
    return "same" if is_unchanged(notes.of(fetch.remote.path), fetch.remote, digest) else found


def _local_file(path: Path) -> FileHere | None:
    if not path.exists():
        return None
    facts = path.stat()
    if not path.is_file():
        raise CopyError(f"{path} is a folder in the kernel's directory; give another target.")
    return FileHere(facts.st_size, facts.st_mtime_ns, facts.st_ctime)


def _conflict(paths: list[Path]) -> str:
    named = ", ".join(map(str, paths[:NAMED])) + (f" and {len(paths) - NAMED} more" if len(paths) > NAMED else "")
    verb = "already exists" if len(paths) == 1 else "already exist"
    return f"{named} {verb} with another content or time; --force overwrites."


async def _fetch(source: Source, fetch: _Fetch, progress: Progress) -> None:
    """Fetch one file under a temporary name first, so that a partial file never has the final name."""
    progress.name = fetch.remote.path
    partial_file = fetch.local.with_name(f".{fetch.local.name}.part-{os.getpid()}")
    try:
        fetch.local.parent.mkdir(parents=True, exist_ok=True)
        with partial_file.open("wb") as file:
            async for chunk in source.read(fetch.remote):
                file.write(chunk)
                progress.done += len(chunk)
        os.utime(partial_file, ns=(fetch.remote.changed * SECOND, fetch.remote.changed * SECOND))
        partial_file.replace(fetch.local)
    except OSError as error:
        raise CopyError(f"{fetch.local} cannot be written: {error}.") from error
    finally:
        partial_file.unlink(missing_ok=True)
