"""`%modal_gpu put | get | ls`: arguments, progress display and summary."""

from __future__ import annotations

import importlib
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.errors import LineError
from modal_gpu_magic.line.command import Words, read
from modal_gpu_magic.session.run.front import State
from modal_gpu_magic.session.run.interrupts import stopped
from modal_gpu_magic.ui.fronts.asking import can_ask
from modal_gpu_magic.ui.fronts.choose import front_for
from modal_gpu_magic.ui.fronts.durations import duration
from modal_gpu_magic.ui.fronts.shell import QUIET_SECONDS
from modal_gpu_magic.wire.inspection.size import size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from modal_gpu_magic.sdk.choice import Kind
    from modal_gpu_magic.sdk.files import Entry
    from modal_gpu_magic.session.copy.background import Progress, Show
    from modal_gpu_magic.session.copy.put import Copied
    from modal_gpu_magic.session.facade import Session
    from modal_gpu_magic.ui.magics.kernel_state import KernelState

PUT = "put LOCAL VOLUME:/path [--backend BACKEND]"
GET = "get SOURCE ... LOCAL [--force] [--backend BACKEND] [--session NAME]"
LS = "ls [VOLUME[:/path]] [--backend BACKEND] [--session NAME]"
FLAGS = {"--backend": True, "--session": True, "--force": False}
"""Each option, and whether it takes a value."""


def _read(text: str, usage: str) -> Words:
    return read(text, {flag: valued for flag, valued in FLAGS.items() if flag in usage}, usage)


def put(state: KernelState, rest: str) -> None:
    """`put LOCAL VOLUME:/path`: copy a file or folder to a Volume; unchanged files are not sent again."""
    from modal_gpu_magic.session.copy.put import put as copy

    words = _read(rest, PUT)
    if len(words.plain) != 2:  # noqa: PLR2004 - source and destination
        raise LineError(f"put takes a source and a destination, not {len(words.plain)} words; write %modal_gpu {PUT}.")
    local, remote = words.plain
    kind = _backend(state, words)
    _shown(state, "put", lambda show: [copy(local, remote, backend=kind, show=show)])


def get(state: KernelState, rest: str) -> None:
    """`get VOLUME:/path LOCAL`: copy a file or folder from a Volume; `get session:path LOCAL`: a file a cell wrote."""
    from modal_gpu_magic.session.copy.get import get as fetch

    words = _read(rest, GET)
    *sources, local = words.plain if len(words.plain) > 1 else (*words.plain, ".")
    if not sources:
        raise LineError(f"get takes a source and a destination; write %modal_gpu {GET}.")
    session, kind, force = _session(state, words), _backend(state, words), "--force" in words.flags
    _shown(
        state,
        "got",
        lambda show: [fetch(each, local, force=force, backend=kind, session=session, show=show) for each in sources],
    )


def ls(state: KernelState, rest: str) -> None:
    """`ls [VOLUME[:/path]]`: list the Volumes, or the files on one; `ls session:`: files that cells wrote."""
    from modal_gpu_magic.session.copy.get import ls as listed

    words = _read(rest, LS)
    if len(words.plain) > 1:
        raise LineError(f"ls takes one path, not {len(words.plain)} words; write %modal_gpu {LS}.")
    place = "".join(words.plain)
    entries = listed(place, backend=_backend(state, words), session=_session(state, words))
    print("\n".join(map(_row, entries)) or ("No files." if place else "No Volumes. `%modal_gpu put` creates one."))


class Bar:
    """Progress of a copy that takes longer than a second: tqdm's bar if tqdm is installed, else a status line."""

    def __init__(self, state: KernelState) -> None:
        self._shell = state.shell
        self._front = front_for(state.shell, quiet=state.settings.quiet)
        self._began = time.monotonic()
        self._make: Callable[[], Any] | None = self._tqdm
        self._bar: Any = None

    def show(self, progress: Progress) -> None:
        """Update the display."""
        seconds = time.monotonic() - self._began
        if seconds < QUIET_SECONDS or self._front.quiet:
            return
        if self._make is not None:
            self._bar, self._make = self._make(), None
        if self._bar is None:
            total = f" of {size_text(progress.total)}" if progress.total else ""
            self._front.show(State("copying", f"{progress.name} {size_text(progress.done)}{total}", seconds))
            return
        self._bar.total, self._bar.n = progress.total or None, progress.done
        self._bar.set_description_str(progress.name, refresh=False)
        self._bar.refresh()

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()

    def _tqdm(self) -> Any:
        kind = "auto" if can_ask(self._shell) else "std"  # without a page, a saved widget shows only "model not found"
        try:
            bars = importlib.import_module(f"tqdm.{kind}")
        except ImportError:
            return None
        return bars.tqdm(unit="B", unit_scale=True, leave=False)


def _shown(state: KernelState, verb: str, copy: Callable[[Show], list[Copied]]) -> None:
    bar = Bar(state)
    try:
        done = copy(bar.show)
    except KeyboardInterrupt:
        raise stopped("stopped. Copied files are kept; run the same line again to resume") from None
    finally:
        bar.close()
    for each in done:
        print(summary(verb, each))


def summary(verb: str, copied: Copied) -> str:
    """Return a summary: `put 3 files (12 MB) to data:/runs in 1.4 s; 5 files unchanged`."""
    unchanged = f"{_files(copied.unchanged)} unchanged" if copied.unchanged else ""
    if not copied.files:
        return f"nothing to copy: {unchanged or 'no files'}"
    done = f"{verb} {_files(copied.files)} ({size_text(copied.nbytes)}) to {copied.place} in {duration(copied.seconds)}"
    said = (done, unchanged, copied.note)
    return "; ".join(filter(None, said))


def _files(count: int) -> str:
    return f"{count:,} file" if count == 1 else f"{count:,} files"


def _row(entry: Entry) -> str:
    file = entry.file
    changed = time.strftime("%Y-%m-%d %H:%M", time.localtime(file.changed)) if file.changed else ""
    if entry.kind == "folder":
        return f"{'':>8}  {changed:16}  {file.path}/"
    return f"{size_text(file.nbytes):>8}  {changed:16}  {file.path}{'' if entry.kind == 'file' else ' (link)'}"


def complete(command: str, before: list[str], current: str, volumes: Iterable[str]) -> list[str]:
    """Return completions of `current` after `put`, `get` or `ls` and the words before it. Sends no request."""
    usage = {"put": PUT, "get": GET, "ls": LS}[command]
    if before and before[-1] == "--backend":
        return [kind for kind in ("cloud", "local") if kind.startswith(current)]
    if current.startswith("--"):
        return [flag for flag in FLAGS if flag in usage and flag.startswith(current) and flag not in before]
    places = [] if command == "put" and not before else [f"{name}:/" for name in sorted(volumes)]
    places += ["session:"] if command != "put" else []
    local = [] if command == "ls" else _paths(current)
    return [place for place in places if place.startswith(current)] + local


def _paths(begun: str) -> list[str]:
    """Return local paths that start with `begun`; folders end with a slash."""
    folder, slash, name = begun.rpartition("/")
    try:
        entries = sorted(Path(folder + slash or ".").expanduser().iterdir())
    except OSError:
        return []
    shown = [each for each in entries if each.name.startswith(name) and (name or not each.name.startswith("."))]
    return [shlex.quote(f"{folder}{slash}{each.name}{'/' if each.is_dir() else ''}") for each in shown]


def _backend(state: KernelState, words: Words) -> Kind:
    kind: Kind = state.kind_of_backend(words.flags.get("--backend"), front_for(state.shell, quiet=state.settings.quiet))
    return kind


def _session(state: KernelState, words: Words) -> Session | None:
    name = words.flags.get("--session")
    if name is not None and name not in state.sessions:
        raise LineError(f"No session is named {name!r}. Sessions: {', '.join(state.sessions) or 'none'}.")
    return state.sessions.get(name or state.current)
