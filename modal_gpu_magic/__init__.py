"""Run notebook cells on Modal's GPUs as if in the kernel: `%load_ext modal_gpu_magic`, then `%%modal_gpu H100:2`.

Standard library only: the container imports this module too. Every public name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from modal_gpu_magic._version import __version__

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from modal_gpu_magic.catalog.gpus import GPUS, Gpu
    from modal_gpu_magic.container.gpu.current import current
    from modal_gpu_magic.line.spec import GpuSpec
    from modal_gpu_magic.plan.machine.definition import Machine
    from modal_gpu_magic.plan.machine.recommend import recommend
    from modal_gpu_magic.session.copy.get import get, ls
    from modal_gpu_magic.session.copy.put import put
    from modal_gpu_magic.session.facade import Session
    from modal_gpu_magic.session.service.facade import Service
    from modal_gpu_magic.ui.widgets.picker import GpuPicker
    from modal_gpu_magic.wire.messages.batching import batched
    from modal_gpu_magic.wire.messages.events import DistributedOptions

_MODULES = {
    "GPUS": "modal_gpu_magic.catalog.gpus",
    "Gpu": "modal_gpu_magic.catalog.gpus",
    "GpuPicker": "modal_gpu_magic.ui.widgets.picker",
    "GpuSpec": "modal_gpu_magic.line.spec",
    "Machine": "modal_gpu_magic.plan.machine.definition",
    "Service": "modal_gpu_magic.session.service.facade",
    "Session": "modal_gpu_magic.session.facade",
    "DistributedOptions": "modal_gpu_magic.wire.messages.events",
    "batched": "modal_gpu_magic.wire.messages.batching",
    "get": "modal_gpu_magic.session.copy.get",
    "ls": "modal_gpu_magic.session.copy.get",
    "put": "modal_gpu_magic.session.copy.put",
    "current": "modal_gpu_magic.container.gpu.current",
    "recommend": "modal_gpu_magic.plan.machine.recommend",
}

__all__ = [
    "GPUS",
    "DistributedOptions",
    "Gpu",
    "GpuPicker",
    "GpuSpec",
    "Machine",
    "Service",
    "Session",
    "__version__",
    "batched",
    "current",
    "get",
    "load_ipython_extension",
    "ls",
    "put",
    "recommend",
    "unload_ipython_extension",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its module."""
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load_ipython_extension(shell: InteractiveShell) -> None:
    """`%load_ext modal_gpu_magic`: make `%modal_gpu` and `%%modal_gpu` known to this shell."""
    from modal_gpu_magic.ui.magics.extension import register

    register(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """`%unload_ext modal_gpu_magic`: forget the magics and end every session of this kernel."""
    from modal_gpu_magic.ui.magics.extension import unregister

    unregister(shell)
