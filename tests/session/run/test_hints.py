"""What is said beside a cell's own error."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from modal_gpu_magic.errors import ContainerLost, RemoteError
from modal_gpu_magic.line.parse import parse
from modal_gpu_magic.line.spec import GpuSpec
from modal_gpu_magic.session.project.root import Project
from modal_gpu_magic.session.project.sent_files import FILE_BYTES
from modal_gpu_magic.session.run.hints import hint, is_out_of_memory, memory_hint
from modal_gpu_magic.session.run.sizing import Sizing


def missing(path: str) -> FileNotFoundError:
    return FileNotFoundError(2, "No such file or directory", path)


@pytest.mark.parametrize(
    "error, said",
    [
        (NameError("name 'held' is not defined"), "`held` was not sent: it is a lock."),
        (NameError("name 'here' is not defined"), "send it with --in here"),
        (NameError("name 'nowhere' is not defined"), None),
        (UnboundLocalError("cannot access local variable 'here'"), None),
        (ValueError("name 'here' is not defined"), None),
        (ModuleNotFoundError("No module named 'cv2'", name="cv2"), "no `cv2`: add --pip opencv-python-headless to"),
        (ModuleNotFoundError("No module named 'PIL.Image'", name="PIL.Image"), "no `PIL`: add --pip pillow to"),
        (ModuleNotFoundError("No module named 'nomod'", name="nomod"), "add --pip nomod to the header, if that is"),
        (ModuleNotFoundError("No module named 'tkinter'", name="tkinter"), None),
        (ModuleNotFoundError("gone"), None),
        (missing("nowhere.txt"), None),
        (FileNotFoundError("gone"), None),
        (missing("a\0b"), None),
        (FileNotFoundError(2, "No such file", 7), None),
    ],
)
def test_the_way_out_or_nothing(error: BaseException, said: str | None) -> None:
    for each in (error, pickle.loads(pickle.dumps(error))):  # as it comes from the container
        found = hint(each, {"here": 1, "held": 2}, {"held": "it is a lock"}, Project("/nowhere"))
        assert (said is None and found is None) or (said is not None and said in (found or ""))


def test_a_file_that_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "project/notebooks"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    (folder / "small.csv").write_text("1")
    (folder.parent / "above.csv").write_text("1")
    (tmp_path / "outside.csv").write_text("1")
    (folder / "link.csv").symlink_to(tmp_path / "outside.csv")
    (folder / "folder").mkdir()
    with (folder / "large.bin").open("wb") as file:
        file.truncate(FILE_BYTES + 1)
    said = {
        "small.csv": "name it literally in the cell to send it",
        "../above.csv": "name it literally in the cell to send it",
        "large.bin": "--volume NAME:/path",
        "folder/new.csv": "The folder folder exists on the kernel's machine, and not in the container",
        "folder": "with up to 1,000 small files of 50 MB together",
        "../../outside.csv": f"outside the project {folder.parent}",
        "link.csv": f"outside the project {folder.parent}",
        str(folder.parent / "above.csv"): "name it by its path from the notebook's folder, `../above.csv`",
    }
    for path, words in said.items():
        assert words in (hint(missing(path), {}, {}, Project.around(str(folder))) or "")
    for path in ("new.csv", "nowhere/new.csv", f"{folder}/folder/new.csv", "../../new.csv", "a\0b/new.csv"):
        assert hint(missing(path), {}, {}, Project.around(str(folder))) is None


class OutOfMemoryError(RemoteError):
    """As the error of torch, or of CuPy, comes home where neither is installed."""


Own = type("OutOfMemoryError", (RuntimeError,), {})
"""A cell's own class, which has the name alone."""
TORCH = torch.OutOfMemoryError(
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 39.39 GiB"
)
JAX = RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 21474836480 bytes.")


@pytest.mark.parametrize(
    "error, is_one",
    [
        (TORCH, True),
        (JAX, True),
        (RuntimeError("RESOURCE_EXHAUSTED: Failed to allocate request for 5.00GiB"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA driver error: CUDA_ERROR_OUT_OF_MEMORY"), True),
        (OutOfMemoryError("Out of memory allocating 512 bytes"), True),
        (torch.OutOfMemoryError("gone"), True),
        (Own("gone"), False),
        (MemoryError("Unable to allocate 80.0 GiB for an array"), False),
        (RuntimeError("RESOURCE_EXHAUSTED: quota exceeded"), False),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
    ],
)
def test_out_of_memory_is_known(error: BaseException, is_one: bool) -> None:
    assert is_out_of_memory(error) == is_one


def sized(got: str = "", peak: float | None = None, simulated: bool = False) -> Sizing:
    return Sizing(GpuSpec.parse(got) if got else None, None, None, peak, None, simulated)


@pytest.mark.parametrize(
    "error, facts, header, words",
    [
        (
            TORCH,
            sized("A100-40GB", 30 * 1024),
            "A100-40GB --timeout 2h --pip einops",
            "A100-40GB ran out of memory at a peak of 30 GiB. The next larger is A100-80GB (80 GB, $2.50/h): "
            "%%modal_gpu A100-80GB --pip einops --timeout 2h",
        ),
        (JAX, sized("L4:2"), "L4:2", "L4:2 ran out of memory. The next larger is A100-40GB:2 (40 GB each, $4.20/h): %%modal_gpu A100-40GB:2"),
        (OutOfMemoryError("gone"), sized("L4", 22000), "--clean", "L4 ran out of memory at a peak of 21 GiB. The next larger is A100-40GB (40 GB, $2.10/h): %%modal_gpu A100-40GB --clean"),
        (TORCH, sized("B300", 270_000), "B300", "B300 ran out of memory at a peak of 264 GiB, and Modal has no larger GPU: use more of them, or a smaller batch."),
        (
            TORCH,
            sized(peak=300, simulated=True),
            "H100",
            "H100 ran out of memory at a peak of 0.3 GiB of this machine's memory (the GPU is simulated). "
            "The next larger is RTX-PRO-6000 (96 GB, $3.03/h): %%modal_gpu RTX-PRO-6000",
        ),
    ],
)  # fmt: skip
def test_out_of_memory_names_the_next_larger_gpu_and_the_line(
    error: BaseException, facts: Sizing, header: str, words: str
) -> None:
    line = parse(header)
    asked = line.specs[0] if line.specs else GpuSpec("L4")
    assert memory_hint(error, facts, asked, line) == words


def test_without_a_header_the_line_has_the_gpu_alone() -> None:
    words = memory_hint(TORCH, sized("T4"), None, None)
    assert words is not None
    assert words.endswith("%%modal_gpu L4")


def test_other_errors_and_cpu_containers_have_no_such_hint() -> None:
    assert memory_hint(ValueError("x"), sized("H100"), GpuSpec("H100"), None) is None
    assert memory_hint(TORCH, sized(), None, parse("")) is None


def test_a_container_killed_for_memory_names_a_line_with_more() -> None:
    killed = ContainerLost("the container died while the cell ran: killed (SIGKILL), probably out of memory")
    for header, line in (("H100", "H100 --memory 32GiB"), ("H100 --memory 64GiB", "H100 --memory 128GiB")):
        words = memory_hint(killed, sized(), GpuSpec("H100"), parse(header))
        assert words == f"If main memory was missing, write: %%modal_gpu {line}"
    assert memory_hint(ContainerLost("crashed in native code (SIGSEGV)"), sized(), None, parse("")) is None
