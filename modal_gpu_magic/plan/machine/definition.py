"""Machine: the definition of a Modal Function as one frozen value, and the rules by which a header inherits from it.

No I/O and no modal; `sdk.image` and `sdk.app` turn a Machine into Modal's objects.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.catalog.images import PRESETS
from modal_gpu_magic.catalog.limits import SCALEDOWN_SECONDS
from modal_gpu_magic.catalog.nearest import nearest
from modal_gpu_magic.errors import MachineError
from modal_gpu_magic.line.readers import ANY_REGION
from modal_gpu_magic.line.spec import GpuSpec
from modal_gpu_magic.plan.machine import clusters, toolkit
from modal_gpu_magic.plan.machine.quote import Quote, default_keep_warm, hourly, quote, rate
from modal_gpu_magic.wire.messages import cache

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from modal_gpu_magic.line.parse import Line


KERNEL_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
"""The kernel's minor version of Python, the only one to which functions can be sent."""
START_SECONDS = 1_200
"""Seconds that a container may take to start by default. Modal's own default is the limit of a run, 24 hours here."""


SAVE_BYTES = 10_000_000_000
"""Bytes of a session's values that are saved by default."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine that a session runs on. Two equal machines share one App.

    Attributes:
        gpus: the spec and its fallbacks, in order of preference; empty: a CPU container.
        image: a preset's name, a registry reference, or `variable:NAME` for a `modal.Image` in a notebook variable.
        image_object: the `modal.Image` of the variable; not compared, because rerunning its cell creates a new object.
        pip: packages added to the image, in order.
        apt: Debian packages added to the image, in order.
        run: commands added to the image, in order.
        python: minor version of the image's Python (`3.12`), which must be the kernel's; None: the kernel's.
        volumes: pairs of Volume name and absolute mount path.
        secrets: names of Modal Secrets.
        env: pairs of variable and value.
        cpu: physical cores; None: Modal's default.
        memory: memory in MiB; None: Modal's default.
        region: region of the container; None: any.
        keep_warm: seconds that an idle container is kept; None: 5 minutes, or the time that costs $0.25 if shorter.
        start_timeout: seconds that the container may take to start; None: 20 minutes.
        cache: mount the download cache of `wire.messages.cache` on a GPU machine.
        save: bytes of the session's values that are saved, so that its next container goes on with them; 0: none.
        nodes: containers of a cluster, each with all GPUs of its host; a cluster keeps no state.
        rdma: link the nodes by RDMA.
        detach: the session has a deployed App of its own, which outlives the kernel.
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
    start_timeout: int | None = None
    cache: bool = True
    save: int = SAVE_BYTES
    nodes: int = 1
    rdma: bool = False
    detach: bool = False

    def __post_init__(self) -> None:
        """Check the fields against Modal's rules."""
        for name in _LISTS:
            if isinstance(text := getattr(self, name), str):
                raise MachineError(f"{name} is the text {text!r}; write a list: {name}=[{text!r}].")
        if self.python is not None and self.python != KERNEL_PYTHON:
            raise MachineError(
                f"the image's Python would be {self.python}, and this notebook's is {KERNEL_PYTHON}: functions are "
                "sent as byte code, which another minor version cannot run. "
                f"Remove --python, or start a kernel with Python {self.python}."
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
        refused = clusters.refusal(self.gpus, self.nodes, rdma=self.rdma) or toolkit.refusal(self.gpus, self.image)
        if refused:
            raise MachineError(refused)

    @classmethod
    def of(cls, *specs: str, **options: Any) -> Machine:
        """Create a machine: `Machine.of("H100:2", "A100-80GB", pip=["einops"], volumes={"d": "/d"})`.

        Lists are accepted for tuples, and dicts for pairs.

        Raises:
            LineError: a spec is unknown or malformed.
            MachineError: Modal would refuse an option.
        """
        gpus = tuple(GpuSpec.parse(spec) for spec in specs)
        return cls(gpus, **{name: _frozen(value) for name, value in options.items()})

    @property
    def title(self) -> str:
        """The first spec for display: `H100:2`, `4 x H100:8`, or `CPU`."""
        one = str(self.gpus[0]) if self.gpus else "CPU"
        return f"{self.nodes} x {one}" if self.nodes > 1 else one

    @property
    def per_hour(self) -> float | None:
        """USD per hour of all nodes with the most expensive fallback; None: unknown."""
        price = hourly(self.gpus, cpu=self.cpu, memory_mib=self.memory, region=self.region)
        return None if price is None else price * self.nodes

    @property
    def first_per_hour(self) -> float | None:
        """USD per hour of all nodes with the first choice; None: unknown."""
        price = quote_of(self).per_hour
        return None if price is None else price * self.nodes

    @property
    def price_text(self) -> str:
        """`$3.95/h` for the first choice and all nodes; with a dearer fallback: `$1.10/h, up to $3.95/h`."""
        return rate(self.first_per_hour, self.per_hour)

    @property
    def gpu_argument(self) -> str | list[str] | None:
        """The value of Modal's `gpu=`: a string, a ranked list of strings, or None."""
        texts = [str(spec) for spec in self.gpus]
        return texts if len(texts) > 1 else texts[0] if texts else None

    @property
    def mounts(self) -> tuple[tuple[str, str], ...]:
        """All Volumes with mount paths: `volumes`, and the cache unless a volume has the cache's name or path."""
        taken = any(name == cache.VOLUME or _overlap(path, cache.PATH) for name, path in self.volumes)
        return self.volumes if taken or not (self.cache and self.gpus) else (*self.volumes, (cache.VOLUME, cache.PATH))

    @property
    def scaledown(self) -> int:
        """Seconds that an idle container is kept: `keep_warm`, or the default for the GPUs."""
        return self.keep_warm if self.keep_warm is not None else default_keep_warm(self.gpus, self.nodes, self.region)

    @property
    def startup(self) -> int:
        """Seconds that the container may take to start: `start_timeout`, or the default."""
        return START_SECONDS if self.start_timeout is None else self.start_timeout

    @property
    def saves(self) -> bool:
        """Whether containers mount the session Volume. A cluster keeps no values."""
        return self.save > 0 and self.nodes == 1


def _overlap(path: str, other: str) -> bool:
    """Whether two paths are equal or one contains the other."""
    return f"{path}/".startswith(f"{other}/") or f"{other}/".startswith(f"{path}/")


_LISTS = ("pip", "apt", "run", "secrets")
"""Fields that are lists of strings; a single string would be read as a list of letters."""

_WORDS = {"gpus": "GPU", "env": "environment", "volumes": "volume", "secrets": "secret"}


def inherit(base: Machine | None, line: Line, images: Mapping[str, Any], environ: Mapping[str, str]) -> Machine:
    """Return the machine of a header: the session's machine with the header's options; packages are added.

    Args:
        base: the session's machine; None at the first cell.
        line: the parsed header.
        images: `modal.Image` variables of the notebook, by name.
        environ: the environment that has the value of `--env NAME`.

    Raises:
        LineError: the GPUs do not allow the requested ranks or nodes.
        MachineError: Modal would refuse an option, or an environment variable is not set.
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
    if line.options.region == ANY_REGION:
        changed["region"] = None
    if name := line.options.image:
        held = images.get(name)
        _refuse_mistyped_preset(name, is_variable=held is not None)
        changed.update(image=name if held is None else f"variable:{name}", image_object=held)
    gpus = changed.get("gpus", start.gpus)
    clusters.check(line, gpus)
    nodes = line.options.nodes or (start.nodes if line.machine else 1)  # a later header must request a cluster again
    linked = nodes > 1 and not line.options.no_rdma and clusters.has_rdma(gpus)
    changed.update(nodes=nodes, rdma=linked and (start.rdma or not line.machine or start.nodes == 1))
    return replace(start, **changed)


def _refuse_mistyped_preset(name: str, *, is_variable: bool) -> None:
    """Refuse a plain word that is similar to a preset: Docker Hub's image of this name needs a tag to be meant."""
    near = nearest(name, PRESETS, limit=1)
    if not is_variable and name not in PRESETS and name.isidentifier() and near:
        raise MachineError(
            f"No preset and no variable with a modal.Image is called {name}; did you mean --image {near[0]}? "
            f"For Docker Hub's image of this name, write --image {name}:latest."
        )


def _frozen(value: Any) -> Any:
    return tuple(value.items()) if isinstance(value, dict) else tuple(value) if isinstance(value, list) else value


def _value(key: str, value: str | None, environ: Mapping[str, str]) -> str:
    if value is not None:
        return value
    if key not in environ:
        raise MachineError(f"The kernel's environment has no {key}; write --env {key}=VALUE.")
    return environ[key]


def quote_of(machine: Machine) -> Quote:
    """Return the price of one container of a machine, for the first spec."""
    spec = machine.gpus[0] if machine.gpus else None
    return quote(spec, cpu=machine.cpu, memory_mib=machine.memory, region=machine.region)


def differences(old: Machine, new: Machine) -> tuple[str, ...]:
    """Return the differences of two machines as phrases: `GPU H100 -> A100-80GB`. Empty: one container serves both."""
    return tuple(
        _difference(f.name, getattr(old, f.name), getattr(new, f.name))
        for f in fields(Machine)
        if f.compare and f.name not in ("keep_warm", "pip", "save") and getattr(old, f.name) != getattr(new, f.name)
    )


def not_applied(machine: Machine) -> tuple[str, ...]:
    """Return the parts of an image that the local backend ignores: it uses the kernel's own packages."""
    is_reference = machine.image not in PRESETS and not machine.image.startswith("variable:")
    parts = (
        f"the image {machine.image}" if is_reference else "",
        f"apt {', '.join(machine.apt)}" if machine.apt else "",
        f"run {', '.join(machine.run)}" if machine.run else "",
    )
    return tuple(part for part in parts if part)


def _difference(name: str, old: Any, new: Any) -> str:
    word = _WORDS.get(name, name)
    if name == "detach":
        return "detached" if new else "not detached"
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
    """Return specs in the syntax of the line: `H100:2 A100-80GB`."""
    return " ".join(str(spec) for spec in specs)
