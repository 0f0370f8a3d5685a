"""Kernels for the end-to-end tests: one with the extension and one bare, each shared by the tests of a module."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from jupyter_core.utils import ensure_event_loop

from tests.cloud.gates import AT_START, Gates
from tests.e2e.cases.twins import Twins
from tests.e2e.compare import by_stream, shown
from tests.e2e.detached_user import User
from tests.e2e.kernel import Kernel, Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@pytest.fixture(scope="session", autouse=True)
def _loop() -> Iterator[None]:
    """jupyter_client's blocking calls share one event loop, which nobody closes."""
    yield
    ensure_event_loop().close()


@pytest.fixture(scope="session", autouse=True)
def _fonts(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Matplotlib lists the fonts once a test session, not once a kernel: that takes seconds."""
    os.environ.setdefault("MPLCONFIGDIR", str(tmp_path_factory.mktemp("fonts")))


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    """A kernel with the extension loaded. The tests of a module share it, so each uses names of its own."""
    with Kernel() as kernel:
        kernel.load()
        yield kernel


@pytest.fixture(scope="module")
def user() -> Iterator[User]:
    """A user of detached sessions, with directories and a lasting control plane of their own."""
    with User() as user:
        yield user


@pytest.fixture(scope="module")
def native() -> Iterator[Kernel]:
    """A kernel that never heard of the extension: what it does is what a cell must do."""
    with Kernel() as kernel:
        yield kernel


@pytest.fixture(scope="module")
def twins() -> Iterator[Twins]:
    """Both kernels for the cases of a module, which clean up after themselves."""
    with Twins() as twins:
        yield twins


@pytest.fixture
def fresh() -> Iterator[Kernel]:
    """A kernel with the extension loaded, for one test that may leave it in pieces."""
    with Kernel() as kernel:
        kernel.load()
        yield kernel


@pytest.fixture
def gates(tmp_path: Path) -> Gates:
    """The gates of the control plane of `gated`."""
    return Gates(tmp_path)


@pytest.fixture
def gated(gates: Gates) -> Iterator[Kernel]:
    """A new kernel with the extension, whose control plane waits where a gate is closed."""
    with Kernel(env={"PYTHONPATH": str(AT_START), "TEST_GATES": str(gates.folder)}) as kernel:
        kernel.load()
        yield kernel


@pytest.fixture
def renewed(kernel: Kernel) -> Kernel:
    """The module's kernel without a name and without a session, as before its first remote cell.

    For a test that takes containers of its own and leaves the kernel's process as it was.
    """
    kernel.renew()
    return kernel


@dataclass(frozen=True, slots=True)
class Pair:
    """The same cells run natively and under the magic."""

    native: Kernel
    kernel: Kernel

    def here(self, source: str) -> None:
        """Run a cell in both notebooks, in the kernel's process: it must show the same."""
        self._same(self.native.run(source), self.kernel.run(source))

    def there(self, source: str, header: str = "H100", *, ordered: bool = True, **how: Any) -> Result:
        """Run a cell natively in one, under the magic in the other: it must show the same. Returns the remote one.

        The native cell has a comment where the other has its header, so that the lines have the same numbers; a cell
        that begins with a cell magic cannot have one, nor can it name lines.
        """
        comment = "" if source.startswith("%%") else f"# %%modal_gpu {header}\n"
        remote = self.kernel.remote(source, header, **how)
        self._same(self.native.run(comment + source, **how), remote, ordered=ordered)
        return remote

    def story(self, cells: Sequence[str]) -> None:
        """Run cells in order; one that starts with `HERE` runs in the kernel's process, the others there."""
        for cell in cells:
            if cell.startswith("HERE\n"):
                self.here(cell.removeprefix("HERE\n"))
            else:
                self.there(cell)

    def sides(self, cells: Sequence[str]) -> None:
        """Run cells in order: `N ...` in the kernel's process, `R ...` there."""
        for cell in cells:
            place, source = cell[0], cell[2:]
            if place == "N":
                self.here(source)
            else:
                self.there(source, "T4")

    @staticmethod
    def _same(native: Result, remote: Result, *, ordered: bool = True) -> None:
        see = shown if ordered else by_stream
        assert see(remote) == see(native)


@pytest.fixture
def pair(native: Kernel, kernel: Kernel) -> Pair:
    """Both kernels, to run the same cells in."""
    return Pair(native, kernel)
