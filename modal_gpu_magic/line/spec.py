"""GPU requests: `GpuSpec`, one of Modal's names with a count, and `Need`, an amount of memory that resolves to specs.

The catalog holds the facts about GPUs. Modal's client performs none of these checks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from modal_gpu_magic.catalog import rates
from modal_gpu_magic.catalog.gpus import GPUS, Gpu, lookup, unknown
from modal_gpu_magic.catalog.nearest import nearest
from modal_gpu_magic.errors import LineError, UnknownGpuError
from modal_gpu_magic.line.scan import refusal

_SPEC = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9+-]*)(?P<strict>!?)(?::(?P<count>-?[0-9]{1,9}))?")

_MISWRITTEN = (
    (r"([A-Z][A-Z0-9+-]*):([0-9]{1,9})!", r"\1!:\2"),
    (r"([0-9]{1,9})[X*]([A-Z][A-Z0-9+-]*!?)", r"\2:\1"),
    (r"([A-Z][A-Z0-9+-]*!?)[X*=@/]([0-9]{1,9})", r"\1:\2"),
    (r"([A-Z][A-Z0-9+-]*)!+:?", r"\1!"),
    (r"([A-Z][A-Z0-9+-]*):.*", r"\1:2"),
)
"""Common misspellings of a count or the `!`, with their meaning; the first that gives a real GPU is suggested."""


@dataclass(frozen=True, slots=True)
class GpuSpec:
    """A GPU request. `str(spec)` is the text for Modal: `H100`, `H100:2`, `H100!:8`.

    Attributes:
        name: Modal's name; aliases and other cases are converted.
        count: GPUs in one container.
        strict: whether an upgrade to another type is excluded (`!`).
        known: whether the catalog contains the GPU. Unknown names need `known=False` and have no price.

    Raises:
        UnknownGpuError: not in the catalog.
        LineError: a count that Modal does not offer, a `!` that the GPU does not support, or an invalid name.
    """

    name: str
    count: int = 1
    strict: bool = False
    known: bool = True

    def __post_init__(self) -> None:
        """Check the request against the catalog, and convert the name to the catalog's spelling."""
        text = f"{self.name}{'!' if self.strict else ''}:{self.count}"
        gpu = _checked(text, allow_unknown=not self.known)
        object.__setattr__(self, "name", gpu.name if gpu else self.name.upper())
        object.__setattr__(self, "known", gpu is not None)

    @classmethod
    def parse(cls, text: str, *, allow_unknown: bool = False) -> GpuSpec:
        """Parse a spec, in any case.

        Args:
            text: `h100`, `H100:2`, `H100!`, `H100!:8`.
            allow_unknown: accept a well-formed name that the catalog does not contain.

        Raises:
            UnknownGpuError: not in the catalog; has the position.
            LineError: malformed, or not offered; has the position.
        """
        _checked(text, allow_unknown=allow_unknown)
        match = _shape(text)
        return cls(match["name"], int(match["count"] or 1), bool(match["strict"]), known=not allow_unknown)

    def __str__(self) -> str:
        """Format the spec for Modal; a count of 1 is omitted."""
        return f"{self.name}{'!' if self.strict else ''}{f':{self.count}' if self.count > 1 else ''}"

    @property
    def gpu(self) -> Gpu | None:
        """The catalog's row; None for an unknown GPU."""
        return GPUS.get(self.name)

    @property
    def gives(self) -> tuple[str, ...]:
        """The GPUs that Modal may provide: an H200 for `H100`, but not for `H100!`."""
        return (self.name,) if self.strict or not self.gpu else self.gpu.gives

    @property
    def price_per_second(self) -> float | None:
        """USD per second for all GPUs of the spec, in any region; None for an unknown GPU."""
        price = rates.current().gpu(self.name)
        return None if price is None else price * self.count

    @property
    def price_per_hour(self) -> float | None:
        """USD per hour for all GPUs of the spec, in any region; None for an unknown GPU."""
        price = self.price_per_second
        return None if price is None else price * 3600

    @property
    def vram_gb(self) -> int | None:
        """Memory of all GPUs of the spec in GB; None for an unknown GPU."""
        return self.gpu.vram_gb * self.count if self.gpu else None


def _checked(text: str, *, allow_unknown: bool) -> Gpu | None:
    """Return the catalog's row for a spec's text; None for an unknown GPU that is allowed."""
    match = _shape(text)
    gpu = lookup(match["name"])
    if gpu is None and not allow_unknown:
        raise _unknown(text, match)
    if gpu and match["strict"] and not gpu.strict:
        rest = text[match.end("strict") :]
        raise refusal(f"Modal has no strict {gpu.name}; write {gpu.name}{rest}.", text, *match.span("strict"))
    count, most = int(match["count"] or 1), gpu.max_count if gpu else None
    if count < 1 or (most and count > most):
        plain = f"{gpu.name if gpu else match['name'].upper()}{match['strict']}"
        offered = f"{plain} comes in 1 to {most}" if most else "Counts start at 1"
        meant = f"{plain}:{most}" if most and count > most else plain
        raise refusal(f"{offered}, not {count}; did you mean {meant}?", text, *match.span("count"))
    return gpu


def _shape(text: str) -> re.Match[str]:
    match = _SPEC.fullmatch(text)
    if match is None:
        raise refusal(f"{text or 'An empty text'} is not a GPU request; {_meant(text)}", text)
    return match


def _unknown(text: str, match: re.Match[str]) -> LineError:
    """Make the error for an unknown name, with the correction of a common misspelling if the text is one."""
    meant = corrected(text)
    message = f"No GPU is called {match['name']}; did you mean {meant}?" if meant else unknown(match["name"]).message
    return UnknownGpuError(message, text, *match.span("name"))


def _meant(text: str) -> str:
    meant = corrected(text) or next(iter(nearest(text, GPUS, limit=1)), "")
    if meant:
        return f"did you mean {meant}?"
    if re.fullmatch(r"[0-9]{1,3}", text):
        return f"a need has its unit: {text}GB."
    return "write a name and perhaps a count, such as H100 or H100:2."


def corrected(text: str) -> str | None:
    """Return the probable meaning of a misspelled text, if that is a GPU that Modal offers."""
    for pattern, template in _MISWRITTEN:
        match = re.fullmatch(pattern, text.upper())
        meant = match.expand(template) if match else ""
        shape = _SPEC.fullmatch(meant)
        if shape and lookup(shape["name"]) and _offered(meant):
            return meant
    return None


def _offered(text: str) -> bool:
    try:
        _checked(text, allow_unknown=False)
    except LineError:
        return False
    return True


_NEED = r"(?P<least>[0-9]{1,6})GB(?:\.\.(?P<most>[0-9]{1,6})GB)?(?::(?P<count>[0-9]{1,9}))?"

_LIKE_NEED = r"[0-9.]+(?:[KMGT]I?B?)?(?:\.\..*|:.*)?"


@dataclass(frozen=True, slots=True)
class Need:
    """GPUs by memory: `24GB` or more each, `24GB..80GB`, `24GB..80GB:2`.

    Attributes:
        least: least memory of each GPU in GB, as advertised.
        most: most memory of each GPU in GB; None: no limit.
        count: GPUs in one container.

    Raises:
        LineError: no GPU in the catalog fits.
    """

    least: int
    most: int | None = None
    count: int = 1

    def __post_init__(self) -> None:
        """Refuse a need that no GPU meets."""
        if self.least < 1 or self.count < 1 or (self.most is not None and self.most < self.least):
            raise refusal(f"{self} asks for nothing; write {self._mended()}.", str(self))
        if not self.resolve():
            raise refusal(self._unmet(), str(self))

    @classmethod
    def looks_like(cls, text: str) -> bool:
        """Whether a word looks like a need: a number with a unit, a range or a count. Not a bare number."""
        return bool(re.fullmatch(_LIKE_NEED, text.upper())) and not text.isdigit()

    @classmethod
    def parse(cls, text: str) -> Need:
        """Parse a need, in any case.

        Raises:
            LineError: malformed, or no GPU fits.
        """
        match = re.fullmatch(_NEED, text.upper())
        if match is None:
            numbers = re.match(r"([0-9]+)(?:[^.]*\.\.([0-9]+))?", text)
            meant = "..".join(f"{int(n[:6])}GB" for n in numbers.groups() if n) if numbers else "24GB"
            raise refusal(f"{text} is not a need; write whole GB, such as {meant}.", text)
        most = int(match["most"]) if match["most"] else None
        try:
            return cls(int(match["least"]), most, int(match["count"] or 1))
        except LineError as error:
            raise refusal(error.message, text) from None

    def __str__(self) -> str:
        """Format the need as on a line."""
        upper = "" if self.most is None else f"..{self.most}GB"
        return f"{self.least}GB{upper}{'' if self.count == 1 else f':{self.count}'}"

    def resolve(self) -> tuple[GpuSpec, ...]:
        """Return the specs that fit, cheapest first, without names that stand for several GPUs."""
        fits = [
            gpu
            for gpu in GPUS.values()
            if gpu.pinned and self.count <= gpu.max_count and self.least <= gpu.vram_gb <= (self.most or gpu.vram_gb)
        ]
        return tuple(GpuSpec(gpu.name, self.count) for gpu in sorted(fits, key=lambda gpu: gpu.price_per_second))

    def _mended(self) -> str:
        bounds = sorted(max(bound, 1) for bound in (self.least, self.most) if bound is not None)
        return "..".join(f"{bound}GB" for bound in bounds)

    def _unmet(self) -> str:
        """Return why no GPU fits, and the nearest need that a GPU meets."""
        pinned = [gpu for gpu in GPUS.values() if gpu.pinned]
        inside = [gpu for gpu in pinned if self.least <= gpu.vram_gb <= (self.most or gpu.vram_gb)]
        if inside:
            most = max(gpu.max_count for gpu in inside)
            return f"No GPU that fits comes in {self.count}; write {Need(self.least, self.most, most)}."
        larger = sorted((gpu for gpu in pinned if gpu.vram_gb > self.least), key=lambda gpu: gpu.vram_gb)
        if larger:
            meant = Need(self.least, larger[0].vram_gb)
            return f"No GPU has {self.least} to {self.most} GB; write {meant} for {larger[0].name}."
        largest = max(pinned, key=lambda gpu: gpu.vram_gb)
        count = -(-self.least * self.count // largest.vram_gb)
        if count <= largest.max_count:
            return f"No GPU has {self.least} GB; write {largest.vram_gb}GB:{count} for {count} of the largest."
        most = largest.vram_gb * largest.max_count
        return f"No container has {self.least:,} GB; write {largest.name}:{largest.max_count} for {most:,} GB a node."
