"""Load and unload the extension: magics, settings, completion and an input transformer."""

from __future__ import annotations

import contextlib
import os
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.errors import SetupError
from modal_gpu_magic.ui.magics.kernel_state import NAME, KernelState, ModalGpu
from modal_gpu_magic.ui.magics.magic import Magics
from modal_gpu_magic.wire.process.initial_state import at_start

NOTE_WIDTH = 80
"""Width of a note, columns: JupyterLab breaks longer lines within words."""
FIRST_PYTHON = (3, 11)
"""The first Python of Modal's image builder 2026.10."""
OLD_PYTHON = (
    "This kernel has Python 3.10, whose end of life has come: Modal's image builder 2026.10 makes no image with it, "
    "and cells need the notebook's Python. Start a kernel with Python 3.11 to 3.14; until then, a workspace with "
    "builder 2025.06 works (MODAL_IMAGE_BUILDER_VERSION=2025.06), and so does --backend local."
)

LOCAL_MESSAGE = (
    "No Modal token is configured, so cells run on the local backend: on this machine's CPU, with simulated GPUs. "
    "To use Modal, run `modal setup` in a terminal or `!modal setup` in a cell, or set MODAL_TOKEN_ID and "
    "MODAL_TOKEN_SECRET, then restart the kernel."
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from IPython.core.interactiveshell import InteractiveShell

_said: set[str] = set()
"""Notes that this kernel has shown; they are not repeated when the extension is loaded again."""


def register(shell: InteractiveShell) -> None:
    """Register the magics in `shell`."""
    from modal_gpu_magic.ui.magics import (
        between_cells,
        kernel_shutdown,
        native_cells,
        own_imports,
        remote_errors,
        reopened_notebook,
    )
    from modal_gpu_magic.ui.magics.complete import matcher

    unregister(shell)
    at_start()
    state = KernelState(shell)
    if state.rates is not None:
        state.rates.adopt_kept()
    magics = Magics(state)
    table: Any = shell.magics_manager
    table.register_function(Documented(magics, magics.run_cell), "cell", NAME)
    table.register_function(Documented(magics, magics.run_line), "line", NAME)
    configurables: list[Any] = shell.configurables  # `%config ModalGpu` looks up the settings in this list
    configurables.append(state.settings)
    shell.input_transformers_cleanup.extend((allow_empty_body, header_first))
    shell.input_transformers_post.append(refuse_misplaced(shell))
    shell.Completer.custom_matchers.append(matcher(shell, state.volumes))
    remote_errors.install(shell)
    native_cells.install(state)
    own_imports.install(shell)
    between_cells.install(shell)
    kernel_shutdown.install(shell)
    reopened_notebook.install(state)
    notes = (
        *about_python(sys.version_info[:2]),
        *about_backend(state.settings.backend),
        *reopened_notebook.welcome(shell),
    )
    for line in notes:
        if line not in _said:
            _said.add(line)
            print(textwrap.fill(line, NOTE_WIDTH, break_long_words=False, break_on_hyphens=False))


def about_python(version: tuple[int, ...]) -> tuple[str, ...]:
    """Return what a user of this Python must know before the first cell, as lines."""
    return (OLD_PYTHON,) if version < FIRST_PYTHON else ()


def about_backend(configured: str) -> Iterator[str]:
    """Yield what a user without a Modal token must know; `configured` is `%config ModalGpu.backend`."""
    from modal_gpu_magic.sdk.choice import choose, has_token

    with contextlib.suppress(SetupError):  # a wrong name is refused where a cell needs the backend
        choice = choose(None, configured, os.environ, token=lambda: has_token(os.environ))
        if choice.automatic and choice.kind == "local":
            yield LOCAL_MESSAGE


def unregister(shell: InteractiveShell) -> None:
    """Stop all sessions and remove the magics, including those of a reloaded module, which are found by name."""
    from modal_gpu_magic.ui.magics import between_cells, native_cells, own_imports, remote_errors

    former: Any = shell.magics_manager.magics["cell"].get(NAME)
    if former is not None:
        from modal_gpu_magic.ui.widgets import shell_channel

        former.__self__.state.close()
        shell_channel.leave(shell)
    shell.configurables[:] = [each for each in shell.configurables if type(each).__name__ != ModalGpu.__name__]
    remote_errors.remove(shell)
    native_cells.remove(shell)
    own_imports.remove()
    between_cells.remove(shell)
    for kind in ("cell", "line"):
        shell.magics_manager.magics[kind].pop(NAME, None)
    for hooks, name in (
        (shell.input_transformers_cleanup, header_first.__name__),
        (shell.input_transformers_cleanup, allow_empty_body.__name__),
        (shell.input_transformers_post, REFUSE),
        (shell.Completer.custom_matchers, NAME),
    ):
        hooks[:] = [hook for hook in hooks if getattr(hook, "__name__", "") != name]


class Documented:
    """A magic whose documentation, `%%modal_gpu?`, is the user's help.

    IPython asks an object for `getdoc` before its docstring (IPython.core.oinspect.getdoc).

    Args:
        magics: the object with the two magics, which a bound method has as `__self__`, too.
        run: one of its methods.
    """

    def __init__(self, magics: Magics, run: Callable[..., Any]) -> None:
        self.__self__, self._run = magics, run
        self.__name__ = NAME

    def __call__(self, *texts: str) -> Any:
        """Run the magic."""
        return self._run(*texts)

    def getdoc(self) -> str:
        """Return the user's help."""
        from modal_gpu_magic.ui.magics.commands import user_help

        return user_help()


REFUSE = "refuse_misplaced_headers"


def refuse_misplaced(shell: InteractiveShell) -> Callable[[list[str]], list[str]]:
    """Return an input transformer that refuses a header below code or with another name, before the cell runs."""

    def refuse(lines: list[str]) -> list[str]:
        from modal_gpu_magic.line.misplaced import refusal_in

        error = refusal_in("".join(lines), lambda name: is_magic(shell, name))
        if error is not None:
            raise error
        return lines

    refuse.__name__ = REFUSE
    return refuse


def is_magic(shell: InteractiveShell, name: str) -> bool:
    """Whether `shell` has the magic `name`, which begins with `%%` or `%`."""
    bare = name.lstrip("%")
    found = shell.find_cell_magic(bare) if name.startswith("%%") else shell.find_line_magic(bare)
    return found is not None


def allow_empty_body(lines: list[str]) -> list[str]:
    """Give a header without code a blank line as its body: IPython refuses an empty one with a sentence of its own."""
    text = "".join(lines)
    if f"%%{NAME}" not in text:
        return lines
    from modal_gpu_magic.line.cell import split_cell

    parts = split_cell(text)
    return lines if parts is None or parts.body.strip() else [f"%%{NAME} {parts.line}".rstrip() + "\n", "\n"]


allow_empty_body.has_side_effects = True  # type: ignore[attr-defined]  # a terminal asks for code below the header


def header_first(lines: list[str]) -> list[str]:
    r"""Move the header to the first line: IPython input transformer for comments above it and `\` continuations."""
    text = "".join(lines)
    if f"%%{NAME}" not in text:
        return lines
    from modal_gpu_magic.line.cell import normalise

    return normalise(text).splitlines(keepends=True)
