"""Hints shown with a cell's error: values and files of the notebook that were not sent, a GPU with more memory."""

from __future__ import annotations

import os
import re
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.errors import ContainerLost, RemoteError
from modal_gpu_magic.metrics.memory_text import memory_text
from modal_gpu_magic.plan.machine.advice import larger, ready_line
from modal_gpu_magic.plan.machine.quote import quote, rate
from modal_gpu_magic.session.project.module_origin import own_locations
from modal_gpu_magic.session.project.sent_files import FILE_BYTES, LISTED_BYTES, LISTED_FILES, Files
from modal_gpu_magic.wire.values.kinds import name_of
from modal_gpu_magic.wire.values.own_code import words_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modal_gpu_magic.line.parse import Line
    from modal_gpu_magic.line.spec import GpuSpec
    from modal_gpu_magic.session.project.root import Project
    from modal_gpu_magic.session.run.sizing import Sizing

DISTRIBUTIONS: Final = {
    "Bio": "biopython",
    "Levenshtein": "levenshtein",
    "MySQLdb": "mysqlclient",
    "OpenGL": "pyopengl",
    "absl": "absl-py",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cairo": "pycairo",
    "clr": "pythonnet",
    "cv2": "opencv-python-headless",
    "Crypto": "pycryptodome",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "faiss": "faiss-cpu",
    "fitz": "pymupdf",
    "git": "gitpython",
    "haiku": "dm-haiku",
    "hydra": "hydra-core",
    "imblearn": "imbalanced-learn",
    "jose": "python-jose",
    "jwt": "pyjwt",
    "kafka": "kafka-python",
    "llama_cpp": "llama-cpp-python",
    "magic": "python-magic",
    "mpl_toolkits": "matplotlib",
    "multipart": "python-multipart",
    "osgeo": "gdal",
    "pkg_resources": "setuptools",
    "pptx": "python-pptx",
    "psycopg2": "psycopg2-binary",
    "ruamel": "ruamel.yaml",
    "serial": "pyserial",
    "OpenSSL": "pyopenssl",
    "PIL": "pillow",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "slugify": "python-slugify",
    "tree": "dm-tree",
    "umap": "umap-learn",
    "usb": "pyusb",
    "whisper": "openai-whisper",
    "yaml": "pyyaml",
    "zmq": "pyzmq",
}
"""The distribution that provides a module, where the names differ."""
MAIN_MEMORY_MIB = 16 << 10
"""Assumed main memory of a killed container whose header sets none, MiB."""

_MOUNT = "put it on a Volume, `%modal_gpu put {path} NAME:/`, and mount that with --volume NAME:/path."


def hint(
    error: BaseException, namespace: Mapping[str, object], held: Mapping[str, str], project: Project
) -> str | None:
    """One sentence with a remedy for a cell's error, or None. `held`: names that were not sent, with the reason."""
    missing = re.search(r"name '(\w+)' is not defined", words_of(error)) if isinstance(error, NameError) else None
    if missing:
        name = missing[1]  # before Python 3.12, pickling an error drops its attribute `name`
        if name in held:
            return f"`{name}` was not sent: {held[name]}."
        if name in namespace:
            return f"`{name}` exists in the notebook, but the cell does not seem to read it: send it with --in {name}."
    if isinstance(error, AttributeError) and (lacking := _LACKING.match(words_of(error))):
        return _attribute_hint(*lacking.groups())
    if isinstance(error, ModuleNotFoundError) and isinstance(error.name, str) and error.name:
        return _module_hint(error.name.partition(".")[0])
    if isinstance(error, FileNotFoundError) and isinstance(error.filename, str):
        return _file_hint(error.filename, project)
    return None


_LACKING: Final = re.compile(r"(?:(module|type object) )?'([\w.]+)'(?: object)? has no attribute '(\w+)'")


def _attribute_hint(kind: str | None, owner: str, name: str) -> str | None:
    """The hint for an attribute that a module or a class has in the notebook, because a call has set the attribute."""
    holders: list[Any] = [sys.modules.get(owner)] if kind == "module" else _classes_named(owner)
    if not any(name in getattr(holder, "__dict__", ()) for holder in holders):
        return None
    return (
        f"`{owner}` has the attribute `{name}` in the notebook: what has set it has not run in the container. "
        "Run it in a %%modal_gpu cell, too."
    )


def _classes_named(name: str) -> list[type]:
    """Return the classes of this process with a name."""
    found: dict[int, type] = {}
    waiting: list[type] = [object]
    while waiting:
        below: list[type] = type.__subclasses__(waiting.pop())
        new = [each for each in below if id(each) not in found]
        found.update((id(each), each) for each in new)
        waiting += new
    named = [kind for kind in found.values() if name_of(kind) == name]
    return [base for kind in named for base in kind.__mro__[:-1]]


def _module_hint(module: str) -> str | None:
    if own_locations(module):
        return (
            f"`{module}` is a module of the kernel that was not sent: write `import {module}` in the cell to send it."
        )
    if module in sys.stdlib_module_names:
        return None
    if module in DISTRIBUTIONS:
        return f"The container has no `{module}`: add --pip {DISTRIBUTIONS[module]} to the header."
    return f"The container has no `{module}`: add --pip {module} to the header, if that is the package's name on PyPI."


def missed_file_hint(error: FileNotFoundError, files: Files, session: str) -> str | None:
    """One sentence for a native cell that has missed a file which a cell of a session wrote, or None."""
    if not isinstance(error.filename, str | os.PathLike):
        return None
    missed = os.fspath(error.filename)
    path = files.written_as(missed) if isinstance(missed, str) else None
    if path is None:
        return None
    option = "" if session == "default" else f" --session {session}"
    line = f"%modal_gpu get {shlex.quote(f'session:{path}')} {shlex.quote(missed)}{option}"
    return f"{missed} was written in the container. Copy it to the notebook: {line}"


def _file_hint(path: str, project: Project) -> str | None:
    try:
        size = Path(path).stat().st_size
    except (OSError, ValueError):
        return _folder_hint(path, project)
    place, mount = project.place(path), _MOUNT.format(path=path)
    if place is None:
        return (
            f"{path} exists on the kernel's machine, but outside the project {project.root}, so it is not sent: {mount}"
        )
    if Path(path).is_absolute():
        name = os.path.relpath(project.path(place))
        return (
            f"{path} exists on the kernel's machine, but a container has its own directories: name it by its path from "
            f"the notebook's folder, `{name}`, to send it if it is small."
        )
    if Path(path).is_dir():
        return (
            f"{path} is a folder on the kernel's machine: name it literally in the cell to send it, with up to "
            f"{LISTED_FILES:,} small files of {LISTED_BYTES / 1e6:.0f} MB together. If it is larger: {mount}"
        )
    if size > FILE_BYTES:
        return (
            f"{path} exists on the kernel's machine ({size / 1e6:,.0f} MB), but only files up to "
            f"{FILE_BYTES / 1e6:.0f} MB are sent automatically: {mount}"
        )
    return f"{path} exists on the kernel's machine: name it literally in the cell to send it."


def _folder_hint(path: str, project: Project) -> str | None:
    """The hint for a new file in a folder that the container does not have."""
    folder = Path(path).parent
    try:
        exists = folder.is_dir()
    except (OSError, ValueError):
        return None
    if not exists or folder.is_absolute() or not folder.name or project.place(str(folder)) is None:
        return None
    return (
        f"The folder {folder} exists on the kernel's machine, and not in the container: make the folder in the cell, "
        f"`os.makedirs({str(folder)!r}, exist_ok=True)`."
    )


_OUT_OF_MEMORY = re.compile(
    r"CUDA.{1,9}OUT.OF.MEMORY|RESOURCE_EXHAUSTED.*(?:MEMORY|ALLOCATE)", re.IGNORECASE | re.DOTALL
)
_TRIED = re.compile(r"allocate ([0-9.]+) ?(bytes|[KMGT]iB)")
_MIB = {"bytes": 2**-20, "KiB": 2**-10, "MiB": 1.0, "GiB": 2.0**10, "TiB": 2.0**20}


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch, jax, CuPy or CUDA reports that a GPU's memory was too small."""
    classes = (getattr(sys.modules.get(module), "OutOfMemoryError", ()) for module in ("torch", "cupy.cuda.memory"))
    # A class that the kernel lacks is recognised by the name of its stand-in.
    stands_in = isinstance(error, RemoteError) and type(error).__name__ == "OutOfMemoryError"
    return stands_in or any(isinstance(error, kind) for kind in classes) or bool(_OUT_OF_MEMORY.search(words_of(error)))


def memory_hint(
    error: BaseException, sized: Sizing, asked: GpuSpec | None, line: Line | None, region: str | None = None
) -> str | None:
    """Memory in use, the next larger GPU and the header that asks for it; None: the error has another cause."""
    if isinstance(error, ContainerLost) and "SIGKILL" in str(error) and line is not None:
        more = replace(
            line, options=replace(line.options, env=None, memory=2 * (line.options.memory or MAIN_MEMORY_MIB))
        )
        return f"If main memory was missing, write: %%modal_gpu {more}"
    spec = sized.got or sized.billed or asked
    if spec is None or not is_out_of_memory(error):
        return None
    seen = "" if sized.peak_mib is None else f" at a peak of {memory_text(sized.peak_mib)}"
    seen += " of this machine's memory (the GPU is simulated)" if seen and sized.simulated else ""
    tried = _TRIED.search(words_of(error))
    need = (sized.peak_mib or 0.0) + float(tried[1]) * _MIB[tried[2]] if tried and not sized.simulated else 0.0
    best = larger(spec, need) or larger(spec)
    if best is None:
        return f"{spec} ran out of memory{seen}, and Modal has no larger GPU: use more of them, or a smaller batch."
    room = (
        f"{best.gpu.vram_gb} GB each" if best.gpu and best.count > 1 else f"{best.gpu.vram_gb} GB" if best.gpu else ""
    )
    price = rate(quote(best, region=region).per_hour)
    return f"{spec} ran out of memory{seen}. The next larger is {best} ({room}, {price}): {ready_line(line, best)}"
