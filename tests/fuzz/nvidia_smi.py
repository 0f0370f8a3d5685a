"""Output of nvidia-smi: never an error, and the same readings however the text is cut into chunks."""

from __future__ import annotations

import random
from contextlib import AbstractContextManager
from pathlib import Path

from modal_gpu_magic.metrics.health import health_events
from modal_gpu_magic.metrics.history import History
from modal_gpu_magic.metrics.sample import QUERY, SHORT_QUERY, Reading, SampleReader, parse
from tests.fuzz.target import Case, fault_of, ready, rearranged

CAPTURES = [path.read_text() for path in sorted((Path(__file__).parents[1] / "metrics" / "nvidia_smi").glob("*.csv"))]
PIECES = (
    *("[N/A]", "N/A", "[Not Supported]", "ERR!", "[GPU requires reset]", "-1", "1e9", "inf", "nan", "0x" + "f" * 40),
    *(", ", ",", "\n", "\r\n", "\0", "\x85", "\u2028", "%", " MiB", "9" * 400, "٣", "²", "GPU-", "Enabled", "P99"),
    *("[gpu-health] [CRITICAL] GPU-b: XID: 79", "[gpu-health] [WARN] GPU-a: XID " + "9" * 30),
    *QUERY,
)


def case(numbers: random.Random) -> str | None:
    """Read one output, whole and in chunks."""
    text = rearranged(numbers.choice(CAPTURES)[:3000], PIECES, numbers)
    query = numbers.choice((QUERY, SHORT_QUERY, tuple(numbers.sample(QUERY, numbers.randrange(len(QUERY))))))
    cuts = sorted(numbers.randrange(len(text) + 1) for _ in range(numbers.randrange(6)))
    fault = fault_of(lambda: _read(text, query, cuts))
    return None if fault is None else f"{fault}: query {query}, cut at {cuts}: {text!r}"


def _read(text: str, query: tuple[str, ...], cuts: list[int]) -> None:
    whole = parse(text, query)
    reader = SampleReader(query)
    readings: list[Reading] = []
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        readings += reader.feed(text[start:end])
    readings += reader.finish()
    assert [sample for reading in readings for sample in reading.samples] == whole, "chunks are read otherwise"
    history = History()
    for reading in readings:
        assert Reading.of(reading.rows, reading.time) == reading, "a reading does not travel"
        history.add(reading)
    health_events(text)


def target() -> AbstractContextManager[Case]:
    """Text needs nothing."""
    return ready(case)
