"""Convert durations and sizes: from text to whole seconds and bytes, and back to the shortest equal text."""

from __future__ import annotations

import re

from modal_gpu_magic.line.scan import refusal

_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}

_WORDS = {
    **dict.fromkeys(("day", "days"), "d"),
    **dict.fromkeys(("hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), "m"),
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
}
"""Units written in full, for the suggestion."""

_DURATION = r"(?:([0-9]{1,9})d)?(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9})s)?"

_BYTES = {"TB": 10**12, "GB": 10**9, "MB": 10**6, "KB": 10**3}
_BINARY = {"TiB": 1 << 40, "GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10}
_SIZES = {unit.upper(): amount for unit, amount in (*_BYTES.items(), *_BINARY.items(), ("B", 1))}

_SIZE = r"([0-9]{1,18})(?:\.([0-9]{1,9}))?([A-Za-z]*)"


def read_duration(text: str) -> int:
    """Return the seconds of `300`, `90m`, `12h`, `1h30m` or `1d`, in any case.

    Raises:
        LineError: not a duration.
    """
    if re.fullmatch(r"[0-9]{1,9}", text):
        return int(text)
    match = re.fullmatch(_DURATION, text, re.IGNORECASE)
    if not match or not text:
        raise refusal(f"{text} is not a duration; {_meant_duration(text)}", text)
    return sum(int(count) * unit for count, unit in zip(match.groups(), _SECONDS.values(), strict=True) if count)


def write_duration(seconds: int) -> str:
    """Format seconds as `5m`, `1h30m` or `0s`, which `read_duration` reads as equal. Days become hours."""
    parts = []
    for unit in ("h", "m", "s"):
        count, seconds = divmod(seconds, _SECONDS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def unit_of(word: str) -> str:
    """Return the unit of a duration, `h`, that a word stands for, `Hours`; empty: none."""
    unit = _WORDS.get(word.lower(), word.lower())
    return unit if unit in _SECONDS else ""


_ENDLESS = frozenset({"forever", "inf", "infinite", "infinity", "max", "never", "none", "unlimited"})


def _meant_duration(text: str) -> str:
    match = re.fullmatch(r"([0-9]{1,9}(?:[.,][0-9]{1,3})?) *([a-z]+)", text, re.IGNORECASE)
    unit = unit_of(match[2]) if match else ""
    if match and unit:
        return f"did you mean {write_duration(round(float(match[1].replace(',', '.')) * _SECONDS[unit]))}?"
    clock = re.fullmatch(r"([0-9]{1,2}):([0-9]{2}):([0-9]{2})", text) or re.fullmatch(
        r"([0-9]{1,3})h([0-9]{1,2})", text
    )
    if clock:
        seconds = sum(int(part) * unit for part, unit in zip(clock.groups(), (3_600, 60, 1), strict=False))
        return f"did you mean {write_duration(seconds)}?"
    if text.lower() in _ENDLESS:
        return "write the longest time that you need, such as 2h."
    return "write 300 (seconds), 90m, 12h or 1h30m."


def read_size(text: str) -> int:
    """Return the bytes of `16GB`, `1.5TB` (powers of 1,000), `16GiB` (powers of 1,024), `100B` or `0`, in any case.

    Raises:
        LineError: not a size, or not a whole number of bytes.
    """
    match = re.fullmatch(_SIZE, text)
    unit = match[3].upper() if match else ""
    if match and text == "0":
        return 0
    if not match or unit not in _SIZES:
        raise refusal(f"{text} is not a size; {_meant_size(match)}", text)
    whole, part = match[1], match[2] or ""
    scale: int = 10 ** len(part)
    size, rest = divmod(int(whole + part) * _SIZES[unit], scale)
    if rest:
        raise refusal(f"{text} is not a whole number of bytes; write {size + 1}B.", text)
    return size


def size_unit(word: str) -> str:
    """Return the unit of a size, `GB`, that a word stands for, `gigs`; empty: none."""
    full = re.fullmatch(r"([kmgt])(?:ilo|ega|iga|era|ig|eg)?(?:byte)?s?", word, re.IGNORECASE)
    return f"{full[1].upper()}B" if full else word if word.upper() in _SIZES else ""


def write_size(size: int) -> str:
    """Format bytes as `16GB`, `1536MiB` or `17B`: in the largest unit without a remainder, powers of 1,000 first."""
    if not size:
        return "0"
    exact = [unit for unit, amount in (*_BYTES.items(), *_BINARY.items()) if size % amount == 0]
    unit = min(exact, key=lambda unit: size // _SIZES[unit.upper()], default="B")
    return f"{size // _SIZES[unit.upper()]}{unit}"


_LARGE, _LARGEST = 1_024, 1_000_000
"""Numbers without a unit from which on MiB were meant, Modal's `memory=16384`, and bytes."""


def _meant_size(match: re.Match[str] | None) -> str:
    """Suggest `16GB` for `16`, `16G` and `16gigs`, `16384MiB` for `16384`."""
    letter = match[3][:1].upper() if match else ""
    if match and not match[3] and not match[2] and int(match[1]) >= _LARGE:
        return f"did you mean {match[1]}{'MiB' if int(match[1]) < _LARGEST else 'B'}?"
    if match and letter in ("", "K", "M", "G", "T"):
        return f"did you mean {match[0][: match.start(3)]}{letter or 'G'}B?"
    return "write 16GB or 512MB."
