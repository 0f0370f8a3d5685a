"""Durations and sizes, both ways."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modal_gpu_magic.errors import LineError
from modal_gpu_magic.line.units import read_duration, read_size, write_duration, write_size

Refused = Callable[[Callable[[], object]], "LineError | None"]


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("300", 300),
        ("0", 0),
        ("90m", 5400),
        ("12h", 43200),
        ("1h30m", 5400),
        ("1h30m5s", 5405),
        ("1d", 86400),
        ("2H", 7200),
        ("61s", 61),
        ("007", 7),
    ],
)
def test_durations(text: str, seconds: int) -> None:
    assert read_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "h", "1h30", "30m1h", "-5", "1.5h", "1 h", "5ms", "1e3", "12x", "9999999999", "١٢"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(LineError, match="is not a duration"):
        read_duration(text)


@pytest.mark.parametrize(
    "text, size",
    [
        ("16GB", 16_000_000_000),
        ("512mb", 512_000_000),
        ("1.5TB", 1_500_000_000_000),
        ("16GiB", 17_179_869_184),
        ("1KB", 1000),
        ("1KiB", 1024),
        ("7B", 7),
        ("0", 0),
        ("0.5KB", 500),
        ("0GB", 0),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert read_size(text) == size


@pytest.mark.parametrize("text", ["", "16", "16G", "16 GB", "-1GB", "GB", "1.GB", "1e3MB", "16GBs", "0.0"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(LineError, match="is not a size"):
        read_size(text)


@pytest.mark.parametrize("seconds, text", [(0, "0s"), (300, "5m"), (5400, "1h30m"), (86400, "24h"), (3661, "1h1m1s")])
def test_a_duration_is_written_short(seconds: int, text: str) -> None:
    assert write_duration(seconds) == text


@pytest.mark.parametrize(
    "size, text",
    [
        (0, "0"),
        (16_000_000_000, "16GB"),
        (17_179_869_184, "16GiB"),
        (1_500_000_000, "1500MB"),
        (17, "17B"),
        (1 << 20, "1MiB"),
    ],
)
def test_a_size_is_written_short(size: int, text: str) -> None:
    assert write_size(size) == text


@given(st.integers(0, 10**9))
def test_a_duration_survives(seconds: int) -> None:
    assert read_duration(write_duration(seconds)) == seconds


@given(
    st.integers(0, 10**15)
    | st.integers(0, 4096).map(lambda count: count << 20)
    | st.integers(0, 4096).map(lambda count: count * 10**9)
)
def test_a_size_survives(size: int) -> None:
    assert read_size(write_size(size)) == size


@given(st.text(max_size=12) | st.from_regex(r"[0-9]{1,4}(\.[0-9]{1,3})?\s?[a-zA-Z]{0,5}", fullmatch=True))
def test_any_text_is_a_value_or_one_line_error_about_it(refused: Refused, text: str) -> None:
    for read in (read_duration, read_size):
        error = refused(partial(read, text))
        assert error is None or (error.line, error.start, error.end) == (text, 0, len(text))
        assert error or read(text) >= 0
