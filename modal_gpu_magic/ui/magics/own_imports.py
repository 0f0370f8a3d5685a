"""Follow the user's modules in a kernel: what changes after their import crosses with the cells that need it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from modal_gpu_magic.wire.process.import_hook import OwnImports
from modal_gpu_magic.wire.values.library_modules import is_own

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from modal_gpu_magic.wire.inspection.own_modules import OwnModules


def install(shell: InteractiveShell) -> None:
    """Follow the imports of a shell. What fingerprints need is imported with the first module of the user."""
    followed: list[OwnModules] = []

    def listener() -> OwnModules:
        if not followed:
            followed.append(_follow(shell))
        return followed[0]

    OwnImports(listener).install()
    if any(map(is_own, list(sys.modules.values()))):
        listener()


def remove() -> None:
    """Follow no modules any more; also those of an earlier load of the extension, which are found by name."""
    sys.meta_path[:] = [each for each in sys.meta_path if type(each).__name__ != OwnImports.__name__]
    module = sys.modules.get("modal_gpu_magic.wire.inspection.own_modules")
    if module is not None:
        module.own_modules().leave()


def _follow(shell: InteractiveShell) -> OwnModules:
    from modal_gpu_magic.wire.inspection.own_modules import own_modules
    from modal_gpu_magic.wire.messages.place_names import place_name
    from modal_gpu_magic.wire.process.state_table import own_states

    found = own_modules()
    found.follow(shell.user_ns, lambda: [place_name(*each) for each in own_states().set_in_modules])
    return found
