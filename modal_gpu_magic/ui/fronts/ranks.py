"""Output of ranks other than 0: prefixed lines where there is only text, live tabs in a notebook, a bundle at the end.

The tabs are widgets, and a saved widget is "model not found" for ever; so when the cell has ended, plain HTML takes
their place, which survives saving.
"""

from __future__ import annotations

import html
import re
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KEPT_CHARACTERS: Final = 200_000
"""Of each rank, in the notebook: the last ones."""
LIVE_CHARACTERS: Final = 10_000
"""Of each rank, in a tab while the cell runs: each update sends all of them."""
LIVE_SECONDS: Final = 0.25
"""Between two updates of the tabs."""
_ANSI = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")
_CUT = "… earlier output was dropped here\n"


class RankOutput(Protocol):
    """Shows what ranks put out."""

    def take(self, rank: int, kind: str, content: Mapping[str, Any]) -> None:
        """One event of a rank, by its kind and content."""

    @property
    def shown(self) -> dict[str, Any] | None:
        """The bundle that is shown now and changes by itself; None: there is none."""

    def finish(self) -> None:
        """The cell has ended; the last call."""


def text_of(kind: str, content: Mapping[str, Any]) -> str:
    """What a terminal would show of an event."""
    if kind == "stream":
        return str(content["text"])
    if kind == "error":
        return "\n".join(content["traceback"]) + "\n"
    shown = content.get("data", {}).get("text/plain") if kind in _SHOWN else None
    return f"{shown}\n" if shown else ""


_SHOWN = ("display_data", "execute_result", "update_display_data")


class Prefixed:
    """Whole lines with their rank: `[rank 3] loss 0.1`. `write` puts text out."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._begun: dict[int, str] = {}

    def take(self, rank: int, kind: str, content: Mapping[str, Any]) -> None:
        """Write the lines that are complete."""
        *lines, rest = (self._begun.pop(rank, "") + text_of(kind, content)).split("\n")
        if rest:
            self._begun[rank] = rest
        self._put(rank, lines)

    @property
    def shown(self) -> None:
        """Lines are written, and stay."""

    def finish(self) -> None:
        """Write what has no end of line."""
        for rank, rest in sorted(self._begun.items()):
            self._put(rank, [rest])
        self._begun.clear()

    def _put(self, rank: int, lines: list[str]) -> None:
        if lines:
            self._write("".join(f"{line}\n" for line in prefixed(rank, lines)))


class Tabs:
    """A tab a rank. `publish(bundle, update=...)` shows a bundle in the cell, or replaces the one shown before."""

    def __init__(self, publish: Callable[..., object]) -> None:
        self._publish = publish
        self._texts: dict[int, str] = {}
        self._pages: dict[int, Any] = {}
        self._tab: Any = None
        self._stale: set[int] = set()
        self._updated = 0.0

    def take(self, rank: int, kind: str, content: Mapping[str, Any]) -> None:
        """Keep it; the tabs follow a few times a second."""
        text = "" if kind == "clear_output" else self._texts.get(rank, "") + text_of(kind, content)
        self._texts[rank] = text if len(text) <= KEPT_CHARACTERS else _CUT + text[-KEPT_CHARACTERS // 2 :]
        self._stale.add(rank)
        if time.monotonic() - self._updated >= LIVE_SECONDS:
            self._update()

    @property
    def shown(self) -> dict[str, Any] | None:
        """The tabs."""
        return dict(self._tab._repr_mimebundle_()) if self._tab is not None else None

    def finish(self) -> None:
        """Put the static bundle in the place of the tabs."""
        if not self._texts:
            return
        self._publish(bundle(self._texts), update=self._tab is not None)
        for widget in (self._tab, *self._pages.values()):
            if widget is not None:
                widget.close()

    def _update(self) -> None:
        from ipywidgets import HTML, Tab

        if self._stale - self._pages.keys():
            for rank in self._stale - self._pages.keys():
                self._pages[rank] = HTML()
            first, self._tab = self._tab is None, self._tab or Tab()
            self._tab.children = tuple(self._pages[rank] for rank in sorted(self._pages))
            for place, rank in enumerate(sorted(self._pages)):
                self._tab.set_title(place, f"rank {rank}")
            if first:
                self._publish(self._tab._repr_mimebundle_(), update=False)
        for rank in self._stale:
            self._pages[rank].value = page(self._texts[rank][-LIVE_CHARACTERS:])
        self._stale.clear()
        self._updated = time.monotonic()


def bundle(texts: Mapping[int, str]) -> dict[str, str]:
    """All ranks' output as a bundle that needs nothing but a browser, or nothing at all."""
    folded = "".join(f"<details><summary>rank {rank}</summary>{page(text)}</details>" for rank, text in _ordered(texts))
    lines = [line for rank, text in _ordered(texts) for line in prefixed(rank, _ANSI.sub("", text).splitlines())]
    return {"text/html": folded, "text/plain": "\n".join(lines)}


def page(text: str) -> str:
    """Text as HTML, without its colours."""
    return f'<pre style="max-height: 24em; overflow: auto">{html.escape(_ANSI.sub("", text))}</pre>'


def prefixed(rank: int, lines: list[str]) -> list[str]:
    """Lines that say whose they are; of a bar that redraws itself, its last state."""
    return [f"[rank {rank}] {line.rstrip(chr(13)).rpartition(chr(13))[2]}" for line in lines]


def _ordered(texts: Mapping[int, str]) -> list[tuple[int, str]]:
    return sorted(texts.items())
