"""Output of ranks other than 0: prefixed lines in text, live tabs in a notebook, static HTML at the end.

The tabs are widgets, which a saved notebook cannot show without the kernel, so plain HTML replaces them at the end.
"""

from __future__ import annotations

import html
import re
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

KEPT_CHARACTERS: Final = 200_000
"""Most characters kept of a rank's output in the notebook: the last ones."""
LIVE_CHARACTERS: Final = 10_000
"""Most characters of a rank in a live tab; each update sends all of them."""
LIVE_SECONDS: Final = 0.25
"""Shortest time between two updates of the tabs."""
_ANSI = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")
_CUT = "… earlier output dropped\n"


class RankOutput(Protocol):
    """Shows the output of ranks."""

    def take(self, rank: int, kind: str, content: Mapping[str, Any]) -> None:
        """Show an event of a rank."""

    @property
    def shown(self) -> dict[str, Any] | None:
        """The mime bundle shown now, which updates itself; None: no bundle."""

    def finish(self) -> None:
        """End the display. The last call."""


def text_of(kind: str, content: Mapping[str, Any]) -> str:
    """Return an event's output as a terminal shows it."""
    if kind == "stream":
        return str(content["text"])
    if kind == "error":
        return "\n".join(content["traceback"]) + "\n"
    shown = content.get("data", {}).get("text/plain") if kind in _SHOWN else None
    return f"{shown}\n" if shown else ""


_SHOWN = ("display_data", "execute_result", "update_display_data")


class Prefixed:
    """Writes whole lines with their rank, `[rank 3] loss 0.1`, through `write`."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._begun: dict[int, str] = {}

    def take(self, rank: int, kind: str, content: Mapping[str, Any]) -> None:
        """Write the complete lines."""
        *lines, rest = (self._begun.pop(rank, "") + text_of(kind, content)).split("\n")
        if rest:
            self._begun[rank] = rest
        self._put(rank, lines)

    @property
    def shown(self) -> None:
        """None: written lines do not change."""

    def finish(self) -> None:
        """Write the incomplete last lines."""
        for rank, rest in sorted(self._begun.items()):
            self._put(rank, [rest])
        self._begun.clear()

    def _put(self, rank: int, lines: list[str]) -> None:
        if lines:
            self._write("".join(f"{line}\n" for line in prefixed(rank, lines)))


class Tabs:
    """One tab per rank. `publish(bundle, update=...)` shows a bundle in the cell or replaces the one before."""

    def __init__(self, publish: Callable[..., object]) -> None:
        self._publish = publish
        self._texts: dict[int, str] = {}
        self._pages: dict[int, Any] = {}
        self._tab: Any = None
        self._stale: set[int] = set()
        self._updated = 0.0

    def take(self, rank: int, kind: str, content: Mapping[str, Any]) -> None:
        """Store an event's output; the tabs update a few times a second."""
        text = "" if kind == "clear_output" else self._texts.get(rank, "") + text_of(kind, content)
        self._texts[rank] = text if len(text) <= KEPT_CHARACTERS else _CUT + text[-KEPT_CHARACTERS // 2 :]
        self._stale.add(rank)
        if time.monotonic() - self._updated >= LIVE_SECONDS:
            self._update()

    @property
    def shown(self) -> dict[str, Any] | None:
        """The mime bundle of the tabs."""
        return dict(self._tab._repr_mimebundle_()) if self._tab is not None else None

    def finish(self) -> None:
        """Replace the tabs by static HTML."""
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
            for index, rank in enumerate(sorted(self._pages)):
                self._tab.set_title(index, f"rank {rank}")
            if first:
                self._publish(self._tab._repr_mimebundle_(), update=False)
        for rank in self._stale:
            self._pages[rank].value = page(self._texts[rank][-LIVE_CHARACTERS:])
        self._stale.clear()
        self._updated = time.monotonic()


def bundle(texts: Mapping[int, str]) -> dict[str, str]:
    """Return the output of all ranks as a mime bundle that needs no kernel."""
    folded = "".join(f"<details><summary>rank {rank}</summary>{page(text)}</details>" for rank, text in _ordered(texts))
    lines = [line for rank, text in _ordered(texts) for line in prefixed(rank, _ANSI.sub("", text).splitlines())]
    return {"text/html": folded, "text/plain": "\n".join(lines)}


def page(text: str) -> str:
    """Return text as HTML, without ANSI colours."""
    return f'<pre style="max-height: 24em; overflow: auto">{html.escape(_ANSI.sub("", text))}</pre>'


def prefixed(rank: int, lines: list[str]) -> list[str]:
    """Return lines prefixed with their rank; of a progress bar, the last state."""
    return [f"[rank {rank}] {line.rstrip(chr(13)).rpartition(chr(13))[2]}" for line in lines]


def _ordered(texts: Mapping[int, str]) -> list[tuple[int, str]]:
    return sorted(texts.items())
