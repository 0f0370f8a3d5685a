"""A GPU request: `GpuSpec`, one of Modal's names with a count, and `Need`, memory from which specs follow.

Facts about GPUs are the catalog's. Modal's client checks none of what is checked here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

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
"""Ways people write a count or the `!`, and what they mean by it; the first that leads to a real GPU is suggested."""


@dataclass(frozen=True, slots=True)
class GpuSpec:
    """A GPU request. `str(spec)` is what Modal gets: `H100`, `H100:2`, `H100!:8`.

    Attributes:
        name: Modal's name; an alias or another case is turned into it.
        count: GPUs in one container.
        strict: no upgrade to another type (`!`).
        known: the catalog has it. A name it lacks is taken only with `known=False`; nothing is known of its price.

    Raises:
        UnknownGpuError: not in the catalog.
        LineError: a count Modal does not offer, a `!` where it has none, a name that cannot be one.
    """

    name: str
    count: int = 1
    strict: bool = False
    known: bool = True

    def __post_init__(self) -> None:
        """Check against the catalog, and take its spelling of the name."""
        text = f"{self.name}{'!' if self.strict else ''}:{self.count}"
        gpu = _checked(text, allow_unknown=not self.known)
        object.__setattr__(self, "name", gpu.name if gpu else self.name.upper())
        object.__setattr__(self, "known", gpu is not None)

    @classmethod
    def parse(cls, text: str, *, allow_unknown: bool = False) -> GpuSpec:
        """A spec from its text, in any case.

        Args:
            text: `h100`, `H100:2`, `H100!`, `H100!:8`.
            allow_unknown: take a well-formed name that the catalog lacks.

        Raises:
            UnknownGpuError: not in the catalog. LineError: malformed, or not offered. Both have the position.
        """
        _checked(text, allow_unknown=allow_unknown)
        match = _shape(text)
        return cls(match["name"], int(match["count"] or 1), bool(match["strict"]), known=not allow_unknown)

    def __str__(self) -> str:
        """What Modal gets; a count of 1 is left out."""
        return f"{self.name}{'!' if self.strict else ''}{f':{self.count}' if self.count > 1 else ''}"

    @property
    def gpu(self) -> Gpu | None:
        """The catalog's row; None for a GPU it does not have."""
        return GPUS.get(self.name)

    @property
    def gives(self) -> tuple[str, ...]:
        """The GPUs that may arrive: `H100` may get an H200, `H100!` may not."""
        return (self.name,) if self.strict or not self.gpu else self.gpu.gives

    @property
    def price_per_second(self) -> float | None:
        """USD for all its GPUs; None for a GPU the catalog does not have."""
        return self.gpu.price_per_second * self.count if self.gpu else None

    @property
    def price_per_hour(self) -> float | None:
        """USD for all its GPUs; None for a GPU the catalog does not have."""
        return self.gpu.price_per_hour * self.count if self.gpu else None

    @property
    def vram_gb(self) -> int | None:
        """GB of all its GPUs together; None for a GPU the catalog does not have."""
        return self.gpu.vram_gb * self.count if self.gpu else None


def _checked(text: str, *, allow_unknown: bool) -> Gpu | None:
    """The catalog's row for a spec's text; None for an unknown one that is allowed."""
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
    """What the catalog says of the name, unless the whole text is a known slip."""
    slip = _slip(text)
    message = f"No GPU is called {match['name']}; did you mean {slip}?" if slip else unknown(match["name"]).message
    return UnknownGpuError(message, text, *match.span("name"))


def _meant(text: str) -> str:
    slip = _slip(text)
    near = nearest(text, GPUS, limit=1)
    if slip or near:
        return f"did you mean {slip or near[0]}?"
    if re.fullmatch(r"[0-9]{1,3}", text):
        return f"a need has its unit: {text}GB."
    return "write a name and perhaps a count, such as H100 or H100:2."


def _slip(text: str) -> str | None:
    """What a text was probably meant to be, if that is a GPU Modal offers."""
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
    """GPUs by their memory: `24GB` or more each, `24GB..80GB`, `24GB..80GB:2`.

    Attributes:
        least: GB each GPU must have, as sold.
        most: GB none may exceed; None: no bound.
        count: GPUs in one container.

    Raises:
        LineError: no GPU of the catalog fits.
    """

    least: int
    most: int | None = None
    count: int = 1

    def __post_init__(self) -> None:
        """Refuse a need that nothing can meet."""
        if self.least < 1 or self.count < 1 or (self.most is not None and self.most < self.least):
            raise refusal(f"{self} asks for nothing; write {self._mended()}.", str(self))
        if not self.resolve():
            raise refusal(self._unmet(), str(self))

    @classmethod
    def looks_like(cls, text: str) -> bool:
        """Whether a word is meant as a need: a number with a unit, a range or a count. Not a bare number."""
        return bool(re.fullmatch(_LIKE_NEED, text.upper())) and not text.isdigit()

    @classmethod
    def parse(cls, text: str) -> Need:
        """A need from its text, in any case.

        Raises:
            LineError: malformed, or nothing fits.
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
        """As the line has it."""
        upper = "" if self.most is None else f"..{self.most}GB"
        return f"{self.least}GB{upper}{'' if self.count == 1 else f':{self.count}'}"

    def resolve(self) -> tuple[GpuSpec, ...]:
        """The specs that fit, cheapest first. Names that stand for one of several GPUs are left out."""
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
        """Why nothing fits, and the nearest need that something meets."""
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
        return f"No GPU has {self.least} GB; the largest is {largest.name}: write {largest.vram_gb}GB."
