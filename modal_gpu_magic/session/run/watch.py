"""What a run's samples and output say beside it: a GPU that stands idle, is held down, or is ill. Each is said once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from modal_gpu_magic.metrics.health import HealthEvent
    from modal_gpu_magic.metrics.history import History
    from modal_gpu_magic.metrics.sample import Reading
    from modal_gpu_magic.session.run.front import Phase
    from modal_gpu_magic.session.run.metrics import Metrics
    from modal_gpu_magic.wire.messages.events import Event

IDLE_SECONDS: Final = 30.0
"""For how long a GPU may say 0 % before that is said (DESIGN decision 16)."""

OUT_OF_SERVICE: Final = "takes the machine out of service"
LEFT_TO_YOU: Final = "leaves it to you: run the cell again, on another machine if need be"

_SAYS_CPU: Final = re.compile(
    r"""device\s*=\s*["']cpu["']|\.to\(\s*["']cpu["']\s*\)|torch\.device\(\s*["']cpu["']\s*\)|\.cpu\(\)"""
)
_SAYS_GPU: Final = re.compile(r"cuda|\bdevice\b|accelerat|\bgpu\b", re.IGNORECASE)


class Watch:
    """Looks at one run's samples and output as they come.

    Args:
        metrics: where readings are kept.
        source: the cell. values: what the notebook has of the names it reads.
        entered: hears each phase the run enters.
    """

    def __init__(
        self,
        metrics: Metrics,
        source: str,
        values: Mapping[str, Any],
        entered: Callable[[Phase], None] = lambda _: None,
    ) -> None:
        self._metrics, self._source, self._values = metrics, source, values
        self.entered = entered
        self.begin()

    def begin(self) -> None:
        """The run begins, or begins again in another container."""
        self._said = False
        self._slowed: set[tuple[str, str]] = set()
        self._metrics.begin()

    def end(self) -> None:
        """The run is over: give its values up, which live on else as long as what hears of samples."""
        self._values = {}

    def take(self, event: Event) -> Reading:
        """Keep what a `sample` event brings."""
        return self._metrics.take(event)

    def sample(self) -> Iterator[str]:
        """What there is to say after a new reading."""
        yield from self._slowdowns()
        if self._said:
            return
        idle = idle_gpus(self._metrics.run)
        if idle:
            self._said = True
            yield idle_words(idle, len(self._metrics.run.gpus), suspect(self._source, self._values))

    def _slowdowns(self) -> Iterator[str]:
        """Each GPU that is held down, once for each reason."""
        latest = self._metrics.run.latest
        many = len({sample.node for sample in latest}) > 1
        for sample in latest:
            for reason in sample.slowdowns:
                if (sample.gpu, reason) not in self._slowed:
                    self._slowed.add((sample.gpu, reason))
                    node = f"node {sample.node} " if many else ""
                    yield f"{node}GPU {'' if sample.index is None else sample.index} is throttled: {reason}."

    def output(self, event: Event) -> Iterator[str]:
        """What there is to say of what the cell put out."""
        if event.kind == "stream":
            yield from self.log(event.content["text"])

    def log(self, text: str) -> Iterator[str]:
        """What there is to say of a text from the container's log."""
        yield from health_words(self._metrics.faults(text))


def idle_gpus(run: History) -> tuple[str, ...]:
    """The GPUs that have said 0 % for too long now. A simulated one says nothing of a GPU's work."""
    return tuple(
        "" if sample.index is None else str(sample.index)
        for sample in run.latest
        if not sample.simulated and run.idle_seconds(sample.gpu) >= IDLE_SECONDS
    )


def idle_words(idle: tuple[str, ...], count: int, why: str) -> str:
    """The sentence: which GPUs of how many, and the suspect."""
    if count == 1:
        which = "The GPU has"
    elif len(idle) == count:
        which = f"All {count} GPUs have"
    else:
        which = f"GPU {', '.join(idle)} of {count} {'has' if len(idle) == 1 else 'have'}"
    return f"{which} been at 0 % for {IDLE_SECONDS:.0f} s of this run.{f' {why}' if why else ''}"


def suspect(source: str, values: Mapping[str, Any]) -> str:
    """What may keep a cell off the GPU, as far as its text and values tell; empty if they do not."""
    found = _SAYS_CPU.search(source)
    if found:
        return f"The cell says `{found[0]}`."
    on_cpu = [name for name, value in sorted(values.items()) if _is_cpu(value)]
    if on_cpu:
        return f"`{on_cpu[0]}` is {values[on_cpu[0]]!r}: it came from the notebook."
    tensors = [name for name, value in sorted(values.items()) if _lies_on_cpu(value)]
    if _SAYS_GPU.search(source):
        return ""
    if tensors:
        return f"`{tensors[0]}` came from the notebook's CPU, and nothing in the cell moves it: `.to('cuda')` would."
    return "Nothing in the cell's own text says cuda." if re.search(r"\btorch\b", source) else ""


def _is_cpu(value: object) -> bool:
    """Whether a value is the name of the CPU, as a text or as torch's device."""
    return (type(value) is str or type(value).__module__ == "torch") and str(value) == "cpu"


def _lies_on_cpu(value: Any) -> bool:
    """Whether a value is a tensor, or a module with parameters, in main memory. Never raises, never imports."""
    try:
        if any(kind.__module__.startswith("torch.nn.modules") for kind in type(value).__mro__):
            value = next(iter(value.parameters()))
        is_tensor = any(kind.__module__.startswith("torch") for kind in type(value).__mro__)
        return is_tensor and str(value.device) == "cpu"
    except Exception:  # noqa: BLE001 - a user's class may raise anything; then it is no suspect
        return False


def health_words(events: Iterable[HealthEvent]) -> Iterator[str]:
    """A line for each fault that Modal reported."""
    for event in events:
        what = OUT_OF_SERVICE if event.critical else LEFT_TO_YOU
        yield f"GPU fault; Modal {what}. {event.uuid}: {event.message}"
