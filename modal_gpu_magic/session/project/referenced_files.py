"""Choose the files of the project to send with a cell: those that the cell, its functions, modules and scripts name."""

from __future__ import annotations

import glob
import os
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.plan.cell.path_text import HOLE
from modal_gpu_magic.plan.cell.references import references
from modal_gpu_magic.session.project.listing import Listing, below, fixed_part, is_pattern, matching
from modal_gpu_magic.session.project.needs import modules_of
from modal_gpu_magic.session.project.notebook_code import NotebookCode
from modal_gpu_magic.session.project.programs import module_files, program
from modal_gpu_magic.session.project.sent_files import FILE_BYTES, LISTED_BYTES, LISTED_FILES, FoundFiles
from modal_gpu_magic.wire.inspection.size import size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from modal_gpu_magic.plan.cell.cellsource import Transform
    from modal_gpu_magic.plan.cell.names import Names
    from modal_gpu_magic.plan.cell.references import Reference
    from modal_gpu_magic.session.project.modules import LocalModules
    from modal_gpu_magic.session.project.root import Project
    from modal_gpu_magic.session.project.sent_files import Files

NAMED = 3
"""Maximum number of files that a sentence names."""
REMEDY = "`%modal_gpu put {path} NAME:/` puts it on a Volume, --volume NAME:/path mounts the Volume."


def find_files(
    source: str,
    transform: Transform | None,
    names: Names,
    namespace: Mapping[str, Any],
    files: Files,
    modules: LocalModules,
    exclude: Iterable[str] = (),
) -> FoundFiles:
    """Find the project's files that a cell names: directly, or in functions, texts, modules and scripts.

    Args:
        source: the cell as typed.
        transform: converts the cell's source to Python.
        names: the names that the cell uses.
        namespace: the notebook's variables.
        files: the session's files.
        modules: the session's own modules.
        exclude: modules that are not sent (`--no-in`).

    Raises:
        TransferError: the notebook's own modules are too large or too many.
    """
    finder = Finder(files.project, files.entries)
    code = NotebookCode(names.reads, namespace)
    finder.add(references(source, transform, code.texts))
    finder.add(code.references)
    finder.add_imports(names.imports)
    for path in modules.find({*names.imports, *modules_of(names, namespace)}, exclude).files.values():
        if files.place(path) is not None:
            finder.add_module(os.path.relpath(path))
    return finder.found()


class Finder:
    """Collects the files of one cell. Paths are relative to the kernel's working directory.

    Args:
        project: the notebook's project.
        entries: directories that code has added to the import path; the finder adds more.
    """

    def __init__(self, project: Project, entries: dict[str, None] | None = None) -> None:
        self._project = project
        self._entries = {} if entries is None else entries
        self._files: dict[str, None] = {}
        self._folders: dict[str, None] = {}
        self._modules: set[str] = set()
        self._notes: dict[str, None] = {}
        self._listed: dict[str, int] = {}
        self._programs: deque[tuple[str, str]] = deque()
        self._seen: set[tuple[str, str]] = set()
        self._words: dict[str, None] = {}
        self._unsure = False

    def add(self, named: Iterable[Reference]) -> None:
        """Add the files that code names."""
        for each in named:
            self._handle(each)
            self._follow()

    def add_imports(self, names: Iterable[str]) -> None:
        """Add modules from directories that code has added to the import path: `sys.path.append("../src")`."""
        for name in names if self._entries else ():
            for entry in self._entries:
                self._take_module(name, entry)
        self._follow()

    def add_module(self, path: str) -> None:
        """Add the files that a module of the project names. `LocalModules` sends the module itself."""
        found = program(path)
        if found is not None:
            self.add(found.references)

    def found(self) -> FoundFiles:
        """Return all collected files."""
        for word in self._words if self._unsure else ():
            self.file(word)
            self._follow()
        return FoundFiles(tuple(self._files), tuple(self._folders), frozenset(self._modules), tuple(self._notes))

    def _handle(self, each: Reference) -> None:
        if not each.text.startswith("/"):
            _HANDLERS[each.how](self, each.text)
        elif each.how in ("listed", "glob", "tested"):
            self._note_absolute(each.text)

    # Handlers, one per kind of reference.

    def file(self, path: str) -> None:
        """Add a file, or a directory with all its content if it is small; of a new file, its directory."""
        if os.path.isfile(path):  # noqa: PTH113
            self._take(path)
        elif os.path.isdir(path):  # noqa: PTH112
            everything = below(path, self._project) if self._is_inside(path) else None
            if everything is not None and everything.whole and self._fits(everything):
                self._take_all(everything)
        else:
            self.written(path)

    def needed(self, path: str) -> None:
        """Add a file that a program needs; if it is not sent, say so, since the program's error gets no hint."""
        self.file(path)
        place = self._project.place(path)
        if os.path.isfile(path) and place not in self._files:  # noqa: PTH113
            self._note_not_sent([path])

    def entry(self, path: str) -> None:
        """Add a directory of the import path."""
        if os.path.isdir(path) and self._is_inside(path):  # noqa: PTH112
            self._entries[path] = None
            self._add_folder(path)

    def made(self, text: str) -> None:
        """Add the files that match a path completed at run time."""
        found = matching(HOLE.join(map(glob.escape, text.split(HOLE))), self._project)
        if self._fits(found):
            self._take_all(found)
            for folder in found.folders:
                self.file(folder)
        elif found.files:
            self._note_too_much(text.replace(HOLE, "*"), found)
        self.written(text)

    def written(self, path: str) -> None:
        """Add the directory in which a file may be written, without its content. Of a path with HOLEs: all matches."""
        above = os.path.dirname(path)  # noqa: PTH120
        folders = [above]
        if HOLE in above:
            found = matching(HOLE.join(map(glob.escape, above.split(HOLE))), self._project)
            folders = [fixed_part(above), *found.folders]
        for folder in folders:
            if folder and os.path.isdir(folder):  # noqa: PTH112
                self._add_folder(folder)

    def listed(self, path: str) -> None:
        """Add a directory whose entries the code reads."""
        if is_pattern(path):
            for folder in matching(path, self._project).folders:
                self.listed(folder)
        elif os.path.isfile(path):  # noqa: PTH113
            self._take(path)
        elif os.path.isdir(path):  # noqa: PTH112
            self._list(path)

    def glob(self, pattern: str) -> None:
        """Add the matches of a pattern; a matching directory is added with all its content."""
        folder = fixed_part(pattern)
        if os.path.exists(folder) and not self._is_inside(folder):  # noqa: PTH110
            self._list(folder)
            return
        found = matching(pattern, self._project)
        if not found.whole or not self._fits(found):
            self._note_too_much(pattern, found)
            return
        self._take_all(found)
        for folder in found.folders if "**" not in pattern else ():
            self._list(folder)

    def tested(self, path: str) -> None:
        """Add a path whose existence the code tests; a directory is created in the container without its files."""
        if os.path.isdir(path):  # noqa: PTH112
            self._add_folder(path)
        elif os.path.isfile(path) and not self._take(path):  # noqa: PTH113
            self._note_not_sent([path])

    def word(self, text: str) -> None:
        """Note a word that may name a file or directory."""
        self._words[text] = None

    def unsure(self, _: str) -> None:
        """Note that the code opens files whose paths are known only at run time."""
        self._unsure = True

    def module(self, name: str) -> None:
        """Add a module that is run as a program: `python -m name`, or `folder/name` in another directory."""
        folder, _, dotted = name.rpartition("/")
        self._import(dotted.partition(".")[0], folder or ".")

    # Files to send.

    def _take(self, path: str) -> bool:
        """Add one file. False: the file is outside the project, too large, or not readable."""
        place = self._project.place(path) if os.access(path, os.R_OK) else None
        if place is None or _size(path) > FILE_BYTES:
            return False
        self._files[place] = None
        self._programs.append((path, os.path.dirname(path) or "."))  # noqa: PTH120
        return True

    def _take_all(self, listing: Listing) -> None:
        refused = [path for path in listing.files if not self._take(path)]
        self._listed.update({path: size for path, size in listing.files.items() if path not in refused})
        for folder in listing.folders:
            self._add_folder(folder)
        if refused or listing.outside:
            self._note_not_sent([*refused, *listing.outside])
        if listing.secrets:
            verb = "is" if len(listing.secrets) == 1 else "are"
            self._notes[f"{_named(listing.secrets)} {verb} not sent: possible credentials."] = None

    def _list(self, path: str) -> None:
        """Add a directory with all its content, or only its direct entries if the whole content is too large."""
        if not self._is_inside(path):
            self._notes[
                f"`{path}` is outside the project {self._project.root} and is not sent: only small files of the "
                f"project are. {REMEDY.format(path=path)}"
            ] = None
            return
        everything = below(path, self._project)
        if everything.whole and self._fits(everything):
            self._take_all(everything)
            return
        self._note_too_much(path, everything)
        flat = below(path, self._project, depth=1)
        if flat.whole and self._fits(flat) and len(flat.folders) > 1:
            self._take_all(flat)

    def _fits(self, listing: Listing) -> bool:
        """Whether the small files of a listing, with those added before, are within the limits of a cell."""
        small = {path: size for path, size in {**self._listed, **listing.files}.items() if size <= FILE_BYTES}
        return len(small) <= LISTED_FILES and sum(small.values()) <= LISTED_BYTES

    def _add_folder(self, path: str) -> None:
        place = self._project.place(path)
        if place is not None:
            self._folders[place] = None

    def _is_inside(self, path: str) -> bool:
        return self._project.place(path) is not None

    # Scripts and their imports.

    def _follow(self) -> None:
        """Add the files and modules that scripts name and import, repeatedly until nothing new is found."""
        while self._programs:
            path, folder = self._programs.popleft()
            found = program(path) if (path, folder) not in self._seen else None
            self._seen.add((path, folder))
            if found is None:
                continue
            for each in sorted(found.references, key=lambda each: each.how != "entry"):
                self._handle(_within_program(each))
                if each.how == "module":
                    self._import(each.text.partition(".")[0], folder)
            for name in found.imports:
                self._import(name, folder)

    def _import(self, name: str, folder: str) -> None:
        """Add a module from a script's import path; leave a module found elsewhere to `LocalModules`."""
        taken = [self._take_module(name, each) for each in (folder, *self._entries)]
        if not any(taken):
            self._modules.add(name)

    def _take_module(self, name: str, folder: str) -> bool:
        """Add a module in a directory. False: the directory has no such module."""
        files = list(module_files(name, folder))
        for path in files:
            place = self._project.place(path)
            if place is not None and _size(path) <= FILE_BYTES:
                self._files[place] = None
                self._programs.append((path, folder))
        return bool(files)

    # Files that are not sent.

    def _note_absolute(self, path: str) -> None:
        """Note an absolute path that a cell lists or tests; the cell would see only the container's own files."""
        folder = fixed_part(path)
        place = self._project.place(folder)
        if os.path.exists(folder) and place is not None:  # noqa: PTH110
            self._notes[
                f"`{folder}` is a local path, and a container has its own: name it by its path from the "
                f"notebook's folder, `{os.path.relpath(folder)}`, to send its small files."
            ] = None

    def _note_not_sent(self, paths: list[str]) -> None:
        why = [(path, _why(path, self._project)) for path in paths]
        for reason in dict.fromkeys(reason for _, reason in why):
            same = [path for path, each in why if each == reason]
            self._notes[
                f"{_named(same)} {'is' if len(same) == 1 else 'are'} not sent: {reason}. {REMEDY.format(path=same[0])}"
            ] = None

    def _note_too_much(self, text: str, found: Listing) -> None:
        many = f"{len(found.files):,}" if found.whole else f"more than {len(found.files):,}"
        is_folder = not is_pattern(text)
        folder = text if is_folder else text.rpartition("/")[0] or "."
        self._notes[
            f"`{text}` has {many} files ({size_text(found.nbytes)}), over the limit of {LISTED_FILES:,} files and "
            f"{size_text(LISTED_BYTES)}: the cell does not see them all. {REMEDY.format(path=folder)}"
        ] = None


def _within_program(each: Reference) -> Reference:
    """Treat a file that a script names as needed, since the script's errors get no hint."""
    return replace(each, how="needed") if each.how == "file" else each


def _why(path: str, project: Project) -> str:
    """The reason why a file is not sent."""
    if _size(path) > FILE_BYTES:
        return f"the limit is {size_text(FILE_BYTES)} a file"
    if project.place(path) is None:
        return f"only files of the project {project.root} are sent, and links out of the project are not followed"
    return "the kernel cannot read it"


def _named(paths: list[str]) -> str:
    more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return ", ".join(f"`{path}`" for path in paths[:NAMED]) + more


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except OSError:
        return 0


_HANDLERS: dict[str, Callable[[Finder, str], None]] = {
    "file": Finder.file,
    "folder": Finder.file,
    "made": Finder.made,
    "listed": Finder.listed,
    "glob": Finder.glob,
    "tested": Finder.tested,
    "written": Finder.written,
    "module": Finder.module,
    "needed": Finder.needed,
    "entry": Finder.entry,
    "word": Finder.word,
    "unsure": Finder.unsure,
}
