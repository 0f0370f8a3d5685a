"""Machine: everything a Modal Function is defined with, as one frozen value, and how a header inherits from it.

No I/O and no modal here; `sdk.image` and `sdk.app` turn a Machine into Modal's objects.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.catalog.images import PRESETS
from modal_gpu_magic.catalog.limits import SCALEDOWN_SECONDS
from modal_gpu_magic.errors import MachineError
from modal_gpu_magic.line.spec import GpuSpec
from modal_gpu_magic.plan.machine import clusters
from modal_gpu_magic.plan.machine.quote import Quote, default_keep_warm, hourly, quote
from modal_gpu_magic.wire.messages import cache

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modal_gpu_magic.line.parse import Line


KERNEL_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
"""The one Python that notebook functions can cross to."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a session runs on. Two equal machines are served by one App.

    Attributes:
        gpus: the spec and its fallbacks, in order of preference; empty: a CPU container.
        image: a preset's name, a registry reference, or `variable:NAME` for a `modal.Image` held in the notebook.
        image_object: that `modal.Image`; not compared (a re-run cell makes an equal image in a new object).
        pip, apt, run: packages and commands added to the image, in order.
        python: the image's Python (`3.12`), which must be the kernel's minor; None: it is.
        volumes: (Volume name, absolute mount path) pairs. secrets: names of Modal Secrets. env: (key, value) pairs.
        cpu: physical cores; None: Modal's default. memory: MiB; None: Modal's default. region: where it runs.
        cache: a GPU machine has the Volume of `wire.messages.cache`, where Hugging Face and torch keep their downloads.
        keep_warm: seconds an idle container stays; None: five minutes, or what $0.25 buys if that is less.
        nodes: containers that work as one cluster, each with all GPUs of its host; such a machine keeps no state.
        rdma: the nodes are linked by RDMA.
    """

    gpus: tuple[GpuSpec, ...] = ()
    image: str = "torch"
    image_object: Any = field(default=None, compare=False, repr=False)
    pip: tuple[str, ...] = ()
    apt: tuple[str, ...] = ()
    run: tuple[str, ...] = ()
    python: str | None = None
    volumes: tuple[tuple[str, str], ...] = ()
    secrets: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    cpu: float | None = None
    memory: int | None = None
    region: str | None = None
    keep_warm: int | None = None
    cache: bool = True
    nodes: int = 1
    rdma: bool = False

    def __post_init__(self) -> None:
        """Refuse what Modal would refuse, before anything is sent."""
        for name in _LISTS:
            if isinstance(text := getattr(self, name), str):
                raise MachineError(f"{name} is the text {text!r}; write a list: {name}=[{text!r}].")
        if self.python is not None and self.python != KERNEL_PYTHON:
            raise MachineError(
                f"the image's Python would be {self.python}, and this notebook's is {KERNEL_PYTHON}: functions cross "
                "as byte code, which another minor cannot run. "
                f"Leave --python out, or start a kernel with Python {self.python}."
            )
        low, high = SCALEDOWN_SECONDS
        if self.keep_warm is not None and not low <= self.keep_warm <= high:
            raise MachineError(f"keep_warm is {self.keep_warm} s; Modal keeps an idle container {low} to {high} s.")
        for name, path in self.volumes:
            if not path.startswith("/"):
                raise MachineError(f"volume {name!r} is mounted at {path!r}; a mount path is absolute: {name}:/{path}.")
        paths = [path for _, path in self.volumes]
        if len(paths) != len(set(paths)):
            raise MachineError(f"two volumes are mounted at the same path: {', '.join(paths)}.")
        refused = clusters.refusal(self.gpus, self.nodes, rdma=self.rdma)
        if refused:
            raise MachineError(refused)

    @classmethod
    def of(cls, *specs: str, **options: Any) -> Machine:
        """A machine from plain Python: `Machine.of("H100:2", "A100-80GB", pip=["einops"], volumes={"d": "/d"})`.

        Lists may stand for tuples, and dicts for pairs.

        Raises:
            LineError: a spec is unknown or malformed. MachineError: an option Modal would refuse.
        """
        gpus = tuple(GpuSpec.parse(spec) for spec in specs)
        return cls(gpus, **{name: _frozen(value) for name, value in options.items()})

    @property
    def title(self) -> str:
        """The first spec as a user reads it: `H100:2`, `4 x H100:8`, or `CPU`."""
        one = str(self.gpus[0]) if self.gpus else "CPU"
        return f"{self.nodes} x {one}" if self.nodes > 1 else one

    @property
    def per_hour(self) -> float | None:
        """USD an hour, of all nodes and of the dearest fallback; None if that is unknown."""
        price = hourly(self.gpus)
        return None if price is None else price * self.nodes

    @property
    def gpu_argument(self) -> str | list[str] | None:
        """What Modal's `gpu=` gets: a string, a ranked list of strings, or None."""
        texts = [str(spec) for spec in self.gpus]
        return texts if len(texts) > 1 else texts[0] if texts else None

    @property
    def mounts(self) -> tuple[tuple[str, str], ...]:
        """All Volumes with their paths: `volumes`, and the cache unless one of them takes its name or its place."""
        taken = any(name == cache.VOLUME or _overlap(path, cache.PATH) for name, path in self.volumes)
        return self.volumes if taken or not (self.cache and self.gpus) else (*self.volumes, (cache.VOLUME, cache.PATH))

    @property
    def scaledown(self) -> int:
        """Seconds an idle container stays: `keep_warm`, or the default for these GPUs."""
        return self.keep_warm if self.keep_warm is not None else default_keep_warm(self.gpus, self.nodes)

    @property
    def identity(self) -> Machine:
        """What an App is defined by: the machine less keep-warm, which a running one can change."""
        return replace(self, keep_warm=None)


def _overlap(path: str, other: str) -> bool:
    """Whether one of two paths is the other, or is above it."""
    return f"{path}/".startswith(f"{other}/") or f"{other}/".startswith(f"{path}/")


_LISTS = ("pip", "apt", "run", "secrets")
"""Fields of several texts: one text alone would be taken letter by letter."""

_WORDS = {"gpus": "GPU", "env": "environment", "volumes": "volume", "secrets": "secret"}


def inherit(base: Machine | None, line: Line, images: Mapping[str, Any], environ: Mapping[str, str]) -> Machine:
    """The machine a header asks for: the session's, with what the header gives replaced; packages are added.

    Args:
        base: the session's machine; None at its first cell.
        line: the parsed header.
        images: `modal.Image` variables of the notebook, by name.
        environ: where `--env NAME` takes its value from.

    Raises:
        LineError: ranks or nodes that these GPUs cannot give.
        MachineError: an option Modal would refuse, or a variable of the environment that is not set.
    """
    start = base or Machine()
    own = {f.name for f in fields(Machine)}
    changed = {name: value for name, value in line.options.given("where").items() if name in own}
    if line.specs:
        changed["gpus"] = line.specs
    if line.options.pip:
        changed["pip"] = tuple(dict.fromkeys((*start.pip, *line.options.pip)))
    if line.options.env:
        changed["env"] = tuple((key, _value(key, value, environ)) for key, value in line.options.env)
    if name := line.options.image:
        held = images.get(name)
        changed.update(image=name if held is None else f"variable:{name}", image_object=held)
    gpus = changed.get("gpus", start.gpus)
    clusters.check(line, gpus)
    nodes = line.options.nodes or (start.nodes if line.machine else 1)  # a later header has no cluster by accident
    linked = nodes > 1 and not line.options.no_rdma and clusters.has_rdma(gpus)
    changed.update(nodes=nodes, rdma=linked and (start.rdma or not line.machine or start.nodes == 1))
    return replace(start, **changed)


def _frozen(value: Any) -> Any:
    return tuple(value.items()) if isinstance(value, dict) else tuple(value) if isinstance(value, list) else value


def _value(key: str, value: str | None, environ: Mapping[str, str]) -> str:
    if value is not None:
        return value
    if key not in environ:
        raise MachineError(f"--env {key} takes its value from here, and {key} is not set; write --env {key}=VALUE.")
    return environ[key]


def quote_of(machine: Machine) -> Quote:
    """The price of one container of a machine: of the first spec, which the others stand in for."""
    spec = machine.gpus[0] if machine.gpus else None
    return quote(spec, cpu=machine.cpu, memory_mib=machine.memory, region=machine.region)


def differences(old: Machine, new: Machine) -> tuple[str, ...]:
    """What differs between two machines, one phrase each: `GPU H100 -> A100-80GB`. Empty: the container serves both."""
    return tuple(
        _difference(f.name, getattr(old, f.name), getattr(new, f.name))
        for f in fields(Machine)
        if f.compare and f.name not in ("keep_warm", "pip") and getattr(old, f.name) != getattr(new, f.name)
    )


def not_applied(machine: Machine) -> tuple[str, ...]:
    """What the local backend leaves out of an image: there the kernel's own packages stand for it."""
    is_reference = machine.image not in PRESETS and not machine.image.startswith("variable:")
    parts = (
        f"the image {machine.image}" if is_reference else "",
        f"apt {', '.join(machine.apt)}" if machine.apt else "",
        f"run {', '.join(machine.run)}" if machine.run else "",
    )
    return tuple(part for part in parts if part)


def _difference(name: str, old: Any, new: Any) -> str:
    word = _WORDS.get(name, name)
    if name == "env":  # values may be secrets: names only
        return f"{word} {', '.join(key for key, _ in dict([*old, *new]).items())}"
    return f"{word} {_shown(old)} -> {_shown(new)}"


def _shown(value: Any) -> str:
    if value in ((), None):
        return "none"
    if isinstance(value, tuple):
        return ", ".join(":".join(map(str, v)) if isinstance(v, tuple) else str(v) for v in value)
    return str(value)


def specs_text(specs: Iterable[GpuSpec]) -> str:
    """Specs as the line has them: `H100:2 A100-80GB`."""
    return " ".join(str(spec) for spec in specs)
