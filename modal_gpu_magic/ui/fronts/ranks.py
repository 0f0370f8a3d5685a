"""Output of ranks other than 0: prefixed lines in text, live tabs in a notebook, static HTML at the end.

The tabs are widgets, which a saved notebook cannot show without the kernel, so plain HTML replaces them at the end, in
the same order, and below the output of rank 0: the tabs open at the first output of any other rank.
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
OPEN_LINES: Final = 12
"""Most lines of a rank whose output stays open after the run."""
SUMMARY_CHARACTERS: Final = 100
"""Most characters of a rank's last line in its summary."""
EMPTY: Final = {"text/plain": ""}
"""Replaces the tabs after the run: front ends give an empty text no height."""
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
        self._kept: dict[str, Any] | None = None
        """What remains after the run."""
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
        """The mime bundle of the tabs, and after the run of the static HTML."""
        if self._kept is not None:
            return self._kept
        return dict(self._tab._repr_mimebundle_()) if self._tab is not None else None

    def finish(self) -> None:
        """Empty the tabs, and show static HTML below all output so far."""
        if not self._texts:
            return
        if self._tab is not None:
            self._publish(EMPTY, update=True)
        self._kept = dict(bundle(self._texts))
        self._publish(self._kept, update=False)
        for widget in (self._tab, *self._pages.values()):
            if widget is not None:
                widget.close()

    def _update(self) -> None:
        from ipywidgets import HTML, Tab

        if self._stale - self._pages.keys():
            for rank in self._stale - self._pages.keys():
                self._pages[rank] = HTML()
            first, self._tab = self._tab is None, self._tab or Tab()
            self._set_pages(self._tab)
            for index, rank in enumerate(sorted(self._pages)):
                self._tab.set_title(index, f"rank {rank}")
            if first:
                self._publish(self._tab._repr_mimebundle_(), update=False)
        for rank in self._stale:
            self._pages[rank].value = page(self._texts[rank][-LIVE_CHARACTERS:])
        self._stale.clear()
        self._updated = time.monotonic()

    def _set_pages(self, tab: Any) -> None:
        """Show the pages in the order of the ranks, and keep the selected rank: a new rank may come before it."""
        chosen = None if tab.selected_index is None else tab.children[tab.selected_index]
        tab.children = tuple(self._pages[rank] for rank in sorted(self._pages))
        if chosen is not None:
            tab.selected_index = tab.children.index(chosen)


def bundle(texts: Mapping[int, str]) -> dict[str, str]:
    """Return the output of all ranks as a mime bundle that needs no kernel."""
    folded = "".join(_section(rank, text) for rank, text in _ordered(texts))
    lines = [line for rank, text in _ordered(texts) for line in prefixed(rank, _ANSI.sub("", text).splitlines())]
    return {"text/html": folded, "text/plain": "\n".join(lines)}


def _section(rank: int, text: str) -> str:
    """Return a rank's output with its last line in the summary; a short output is open."""
    lines = [line for line in settled(text) if line.strip()]
    last = lines[-1].strip() if lines else ""
    cut = last if len(last) <= SUMMARY_CHARACTERS else f"{last[: SUMMARY_CHARACTERS - 1]}…"
    words = f" · <code>{html.escape(cut)}</code>" if cut else ""
    state = " open" if len(lines) <= OPEN_LINES else ""
    return f'<details{state}><summary style="cursor: pointer">rank {rank}{words}</summary>{page(text)}</details>'


def page(text: str) -> str:
    """Return text as HTML, without ANSI colours."""
    words = html.escape("\n".join(settled(text)))
    return f'<pre style="max-height: 24em; overflow: auto" tabindex="0">{words}</pre>'


def settled(text: str) -> list[str]:
    """Return the lines of a text as a terminal leaves them: of a progress bar, the last state; without colours."""
    return [_last_state(line) for line in _ANSI.sub("", text).split("\n")]


def prefixed(rank: int, lines: list[str]) -> list[str]:
    """Return lines prefixed with their rank; of a progress bar, the last state."""
    return [f"[rank {rank}] {_last_state(line)}" for line in lines]


def _last_state(line: str) -> str:
    return line.rstrip("\r").rpartition("\r")[2]


def _ordered(texts: Mapping[int, str]) -> list[tuple[int, str]]:
    return sorted(texts.items())
