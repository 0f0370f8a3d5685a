"""Warnings from a run's samples and output: an idle GPU, a throttled GPU, a GPU fault. Each is shown once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.wire.values.kinds import module_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from modal_gpu_magic.metrics.health import HealthEvent
    from modal_gpu_magic.metrics.history import History
    from modal_gpu_magic.metrics.sample import Reading
    from modal_gpu_magic.session.run.metrics import Metrics
    from modal_gpu_magic.wire.messages.events import Event

IDLE_SECONDS: Final = 30.0
"""Seconds at 0 % utilisation after which a GPU is reported as idle (DESIGN decision 16)."""

OUT_OF_SERVICE: Final = "will stop using this machine"
LEFT_TO_YOU: Final = "does nothing: run the cell again, if needed on another machine"

_SAYS_CPU: Final = re.compile(
    r"""device\s*=\s*["']cpu["']|\.to\(\s*["']cpu["']\s*\)|torch\.device\(\s*["']cpu["']\s*\)|\.cpu\(\)"""
)
_SAYS_GPU: Final = re.compile(r"cuda|\bdevice\b|accelerat|\bgpu\b", re.IGNORECASE)


class Watch:
    """Checks the samples and the output of one run and returns warnings.

    Args:
        metrics: stores the readings.
        source: the cell's source.
        values: the notebook's values of the names that the cell reads, by name.
    """

    def __init__(self, metrics: Metrics, source: str, values: Mapping[str, Any]) -> None:
        self._metrics, self._source, self._values = metrics, source, values
        self.begin()

    def begin(self) -> None:
        """Begin the run, or begin it again in another container."""
        self._said = False
        self._slowed: set[tuple[str, str]] = set()
        self._metrics.begin()

    def end(self) -> None:
        """End the run: release its values; the reader of late samples keeps this object alive."""
        self._values = {}

    def take(self, event: Event) -> Reading:
        """Store the reading of a `sample` event."""
        return self._metrics.take(event)

    def sample(self) -> Iterator[str]:
        """Warnings after a new reading."""
        yield from self._slowdowns()
        if self._said:
            return
        idle = idle_gpus(self._metrics.run)
        if idle:
            self._said = True
            yield idle_words(idle, len(self._metrics.run.gpus), suspect(self._source, self._values))

    def _slowdowns(self) -> Iterator[str]:
        """A warning for each throttled GPU, once per reason."""
        latest = self._metrics.run.latest
        many = len({sample.node for sample in latest}) > 1
        for sample in latest:
            for reason in sample.slowdowns:
                if (sample.gpu, reason) not in self._slowed:
                    self._slowed.add((sample.gpu, reason))
                    node = f"node {sample.node} " if many else ""
                    yield f"{node}GPU {'' if sample.index is None else sample.index} is throttled: {reason}."

    def output(self, event: Event) -> Iterator[str]:
        """Warnings about an output of the cell."""
        if event.kind == "stream":
            yield from self.log(event.content["text"])

    def log(self, text: str) -> Iterator[str]:
        """Warnings about a text from the container's log."""
        yield from health_words(self._metrics.faults(text))


def idle_gpus(run: History) -> tuple[str, ...]:
    """Indexes of the GPUs that have been idle for IDLE_SECONDS. Simulated GPUs are ignored."""
    return tuple(
        "" if sample.index is None else str(sample.index)
        for sample in run.latest
        if not sample.simulated and run.idle_seconds(sample.gpu) >= IDLE_SECONDS
    )


def idle_words(idle: tuple[str, ...], count: int, why: str) -> str:
    """The warning about idle GPUs. `count`: number of GPUs; `why`: a sentence with the likely cause."""
    if count == 1:
        which = "The GPU has"
    elif len(idle) == count:
        which = f"All {count} GPUs have"
    else:
        which = f"GPU {', '.join(idle)} of {count} {'has' if len(idle) == 1 else 'have'}"
    return f"{which} been at 0 % for {IDLE_SECONDS:.0f} s of this run.{f' {why}' if why else ''}"


def suspect(source: str, values: Mapping[str, Any]) -> str:
    """The likely cause of an idle GPU, from the cell's source and values; empty: none found."""
    found = _SAYS_CPU.search(source)
    if found:
        return f"The cell says `{found[0]}`."
    on_cpu = [name for name, value in sorted(values.items()) if _is_cpu(value)]
    if on_cpu:
        return f"`{on_cpu[0]}` is {values[on_cpu[0]]!r}: it came from the notebook."
    tensors = [name for name, value in sorted(values.items()) if _is_cpu_tensor(value)]
    if _SAYS_GPU.search(source):
        return ""
    if tensors:
        return f"`{tensors[0]}` came from the notebook's CPU, and nothing in the cell moves it: `.to('cuda')` would."
    return "Nothing in the cell's own text says cuda." if re.search(r"\btorch\b", source) else ""


def _is_cpu(value: object) -> bool:
    """Whether a value is the text `cpu` or torch's CPU device."""
    return (type(value) is str or module_of(type(value)) == "torch") and str(value) == "cpu"


def _is_cpu_tensor(value: Any) -> bool:
    """Whether a value is a tensor, or a module with parameters, in main memory. Raises nothing, imports nothing."""
    try:
        if any(module_of(kind).startswith("torch.nn.modules") for kind in type(value).__mro__):
            value = next(iter(value.parameters()))
        is_tensor = any(module_of(kind).startswith("torch") for kind in type(value).__mro__)
        return is_tensor and str(value.device) == "cpu"
    except Exception:  # noqa: BLE001 - a user's class may raise anything
        return False


def health_words(events: Iterable[HealthEvent]) -> Iterator[str]:
    """One line for each GPU fault that Modal reported."""
    for event in events:
        what = OUT_OF_SERVICE if event.critical else LEFT_TO_YOU
        yield f"GPU fault; Modal {what}. {event.uuid}: {event.message}"
