"""The card that ends a run: its HTML needs nothing but itself, its text is broken between facts."""

from __future__ import annotations

import re

import pytest

from modal_gpu_magic.ui.fronts.card import (
    TEXT_WIDTH,
    Card,
    Detail,
    Moment,
    card_bundle,
    card_html,
    card_text,
    note_bundle,
    wrapped,
)
from modal_gpu_magic.ui.fronts.picture import Chart

WHOLE = Card(
    "done",
    ("H100", "12 s", "$0.04"),
    Moment("idle until ", "14:05 UTC", " at the latest", "2026-01-01T14:05:00+00:00", "2026-01-01 14:05 UTC"),
    (
        Detail("Files", ("wrote a<b (2 B)",), "%modal_gpu get 'session:a<b' ."),
        Detail("Ended", ("2026-01-01 14:00 UTC",)),
    ),
)


def plain(html: str) -> str:
    """HTML without its styles, and without the spans of the line's facts."""
    return re.sub(r" style=(['\"]).*?\1", "", re.sub(r'<span style="display:inline-block">(.*?)</span>', r"\1", html))


def test_the_line_is_the_summary_of_the_details() -> None:
    assert plain(card_html(WHOLE)) == (
        "<div><details><summary><span></span><b>done</b> · H100 · 12 s · $0.04 · idle until "
        '<time datetime="2026-01-01T14:05:00+00:00" title="2026-01-01 14:05 UTC">14:05 UTC</time> at the latest'
        "</summary>"
        "<div><span>Files</span>wrote a&lt;b (2 B): <code>%modal_gpu get &#x27;session:a&lt;b&#x27; .</code></div>"
        "<div><span>Ended</span>2026-01-01 14:00 UTC</div></details></div>"
    )


def test_without_details_nothing_is_folded() -> None:
    assert plain(card_html(Card("", ("embed", "L4")))) == "<div>embed · L4</div>"
    assert plain(card_html(Card("stopped", ("L4",), Moment("container ended")))) == (
        "<div><span></span><b>stopped</b> · L4 · container ended</div>"
    )


def test_a_chart_is_an_image_with_its_figures_in_words() -> None:
    html = card_html(WHOLE, (Chart("<svg/>", 'peak "9" %'),))
    assert plain(html).endswith(
        '</details><div><img alt="peak &quot;9&quot; %" src="data:image/svg+xml;base64,PHN2Zy8+"></div></div>'
    )


def test_it_asks_for_nothing_from_elsewhere() -> None:
    html = card_html(WHOLE, (Chart("<svg/>", ""),))
    assert not re.search(r"<(script|style|link|svg)|class=|var\(|https?:", html)


def test_a_note_is_broken_between_words() -> None:
    bundle = note_bundle("one <b> two\n  three")
    assert bundle["text/plain"] == "one <b> two\n  three"
    assert plain(bundle["text/html"]) == "<div>one &lt;b&gt; two<br>  three</div>"
    assert "white-space" not in bundle["text/html"]
    assert wrapped("a sentence of words --with-options\nand a line", 12) == (
        "a sentence\nof words\n--with-options\nand a line"
    )


def test_the_text_has_the_same_facts() -> None:
    assert card_text(WHOLE) == (
        "done · H100 · 12 s · $0.04 · idle until 14:05 UTC at the latest · wrote a<b (2 B): "
        "%modal_gpu get 'session:a<b' . · ended 2026-01-01 14:00 UTC"
    )
    bundle = card_bundle(WHOLE)
    assert bundle["text/plain"].split("\n") == [
        "done · H100 · 12 s · $0.04 · idle until 14:05 UTC at the latest ·",
        "wrote a<b (2 B): %modal_gpu get 'session:a<b' .",
        "ended 2026-01-01 14:00 UTC",
    ]
    assert max(map(len, bundle["text/plain"].split("\n"))) <= TEXT_WIDTH


@pytest.mark.parametrize(
    "width, lines",
    [
        (36, ["done · H100 · 12 s · $0.04 ·", "idle until 14:05 UTC at the latest ·", "wrote a<b (2 B):"]),
        (30, ["done · H100 · 12 s · $0.04 ·", "idle until 14:05 UTC at the", "latest · wrote a<b (2 B):"]),
        (3, ["done", "·", "H100"]),
    ],
)
def test_it_is_broken_between_facts_and_only_a_long_one_between_words(width: int, lines: list[str]) -> None:
    assert card_text(WHOLE, width).split("\n")[: len(lines)] == lines


def test_a_command_is_whole_where_a_line_can_hold_it() -> None:
    command = "%modal_gpu get session:" + "x" * 60 + " ."
    card = Card("done", ("H100",), None, (Detail("Files", ("wrote a file with a long name (2 B)",), command),))
    assert card_text(card, 90).split("\n") == ["done · H100 · wrote a file with a long name (2 B):", command]
