"""List the directories that a cell names, within limits. Links that lead out of the project are not followed."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modal_gpu_magic.plan.cell.path_text import HOLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modal_gpu_magic.session.project.root import Project

MOST_ENTRIES = 5_000
"""Maximum number of entries listed in and below one directory; listing them takes about 20 ms."""
LEFT_OUT = frozenset({"__pycache__", "node_modules"})
"""Names of directories that are skipped. Hidden directories and virtual environments are also skipped."""

_SECRETS = re.compile(
    r"\.env(?:\..*)?|\.(?:netrc|npmrc|pypirc|git-credentials|pgpass|htpasswd|boto|s3cfg|dockercfg|Xauthority)|\.\w+_history"
    r"|id_(?:rsa|dsa|ecdsa|ed25519)|.*\.(?:pem|p12|pfx|key)|credentials(?:\.\w+)?|secrets?\.(?:json|toml|ya?ml)|kaggle\.json"
)
"""Names of files with credentials. Such a file is sent only if a cell names it."""

_WILD = re.compile(rf"[*?\[{HOLE}]")


@dataclass(slots=True)
class Listing:
    """The files and directories below a directory, by path as the cell names it.

    Attributes:
        files: size of each file, bytes, by path.
        folders: all directories, the top one first.
        secrets: files skipped because their names suggest credentials.
        outside: links that lead out of the project.
        whole: whether the listing is complete.
    """

    files: dict[str, int] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    whole: bool = True

    @property
    def nbytes(self) -> int:
        """Size of all files, bytes."""
        return sum(self.files.values())


def below(folder: str, project: Project, depth: int | None = None, most: int = MOST_ENTRIES) -> Listing:
    """List a directory down to `depth` levels (None: all levels) and up to `most` entries."""
    listing, waiting, seen, count = Listing(), [(folder, 1)], set[str](), 0
    while waiting:
        above, level = waiting.pop(0)
        real = os.path.realpath(above)
        if real in seen:  # a cycle of links
            continue
        seen.add(real)
        listing.folders.append(above)
        for entry in _entries(above):
            count += 1
            if count > most:
                listing.whole = False
                return listing
            path = _joined(above, entry.name)
            if entry.is_symlink() and project.place(path) is None:
                listing.outside += [path] if os.path.exists(path) else []  # noqa: PTH110
                continue
            if _is_folder(entry):
                if not left_out(path) and (depth is None or level < depth):
                    waiting.append((path, level + 1))
                elif not left_out(path):
                    listing.folders.append(path)
            elif entry.is_file():
                _add(listing, path, entry)
    return listing


def matching(pattern: str, project: Project) -> Listing:
    """List the matches of a pattern (`*`, `?`, `[...]`, `**`, HOLEs), without the content of matched directories."""
    parts = pattern.split("/")
    fixed = next((number for number, part in enumerate(parts) if _WILD.search(part)), len(parts) - 1)
    top = "/".join(parts[:fixed])
    start = top or ("/" if pattern.startswith("/") else ".")
    if not os.path.isdir(start) or project.place(start) is None:  # noqa: PTH112
        return Listing()
    rest = [part for part in parts[fixed:] if part]
    deep = "**" in rest
    found = below(start, project, None if deep else len(rest))
    matches = re.compile(_expression(rest)).fullmatch
    files = {path: size for path, size in found.files.items() if matches(_relative(path, start))}
    folders = [path for path in found.folders[1:] if matches(_relative(path, start))]
    folders[:0] = found.folders[:1] if rest == ["**"] else []
    outside = [path for path in found.outside if matches(_relative(path, start))]
    return Listing(files, folders, [], outside, found.whole)


def is_pattern(text: str) -> bool:
    """Whether a path has wildcards or HOLEs."""
    return bool(_WILD.search(text))


def fixed_part(text: str) -> str:
    """The directory above the first wildcard of a pattern; for a plain path, the path itself."""
    found = _WILD.search(text)
    if found is None:
        return text
    return text[: found.start()].rpartition("/")[0] or ("/" if text.startswith("/") else ".")


def left_out(folder: str) -> bool:
    """Whether a directory is skipped: hidden, in LEFT_OUT, or a virtual environment."""
    name = os.path.basename(folder)  # noqa: PTH119
    if name.startswith(".") and name.strip("."):
        return True
    return name in LEFT_OUT or os.path.exists(f"{folder}/pyvenv.cfg")  # noqa: PTH110


def _add(listing: Listing, path: str, entry: os.DirEntry[str]) -> None:
    if _SECRETS.fullmatch(entry.name):
        listing.secrets.append(path)
        return
    try:
        listing.files[path] = entry.stat().st_size
    except OSError:  # the file was removed
        return


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from sorted(entries, key=lambda each: each.name)
    except OSError:  # removed, or not readable
        return


def _joined(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder.rstrip('/')}/{name}"


def _relative(path: str, start: str) -> str:
    return path if start == "." else path[len(start.rstrip("/")) + 1 :]


def _expression(parts: list[str]) -> str:
    """Convert a pattern to a regular expression. `*` also matches hidden names, as in `Path.glob`."""
    *before, last = parts or [""]
    begin = "".join("(?:[^/]+/)*" if part == "**" else f"{_part(part)}/" for part in before)
    return f"(?s:{begin}{'.*' if last == '**' else _part(last)})"


def _part(part: str) -> str:
    """Convert one part of a pattern to a regular expression."""
    return _TOKENS.sub(lambda token: _translated(token[0]), part)


def _translated(token: str) -> str:
    if token[0] == "[" and len(token) > 2:  # noqa: PLR2004 - a bracket alone
        inner = re.sub(r"[\\\[&|~]", r"\\\g<0>", token[1:-1])
        return f"[^{inner[1:]}]" if inner[0] == "!" else f"[{inner}]" if inner[0] != "^" else f"[\\{inner}]"
    return {"*": "[^/]*", HOLE: "[^/]*", "?": "[^/]"}.get(token) or re.escape(token)


_TOKENS = re.compile(r"\[!?\]?[^\]]*\]|.", re.DOTALL)
