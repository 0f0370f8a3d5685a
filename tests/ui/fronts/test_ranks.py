"""Output of other ranks as text: whole lines with their rank, a bundle that survives saving."""

from __future__ import annotations

import re
from typing import Any

from modal_gpu_magic.ui.fronts.ranks import (
    EMPTY,
    KEPT_CHARACTERS,
    OPEN_LINES,
    SUMMARY_CHARACTERS,
    Prefixed,
    Tabs,
    bundle,
    text_of,
)


def stream(text: str) -> dict[str, Any]:
    return {"name": "stdout", "text": text}


def test_lines_of_several_ranks_are_not_torn() -> None:
    written: list[str] = []
    lines = Prefixed(written.append)
    lines.take(3, "stream", stream("loss "))
    lines.take(1, "stream", stream("one\ntwo\nthr"))
    lines.take(3, "stream", stream("0.1\n"))
    lines.finish()
    assert "".join(written) == "[rank 1] one\n[rank 1] two\n[rank 3] loss 0.1\n[rank 1] thr\n"


def test_a_bar_is_shown_in_its_last_state() -> None:
    written: list[str] = []
    lines = Prefixed(written.append)
    lines.take(1, "stream", stream("10%\r50%\r100%\n"))
    assert written == ["[rank 1] 100%\n"]


def test_the_text_of_events() -> None:
    assert text_of("execute_result", {"data": {"text/plain": "42", "text/html": "<b>42</b>"}}) == "42\n"
    assert text_of("error", {"traceback": ["a", "b"]}) == "a\nb\n"
    assert text_of("comm_open", {"content": {}}) == ""


def test_the_bundle_is_safe_and_has_a_plain_form() -> None:
    shown = bundle({2: "\x1b[31m<b>red</b>\x1b[0m\n", 1: "x\ny\n"})
    assert shown["text/plain"] == "[rank 1] x\n[rank 1] y\n[rank 2] <b>red</b>"
    assert shown["text/html"].index("rank 1") < shown["text/html"].index("rank 2")
    assert "&lt;b&gt;red&lt;/b&gt;" in shown["text/html"]
    assert "\x1b" not in shown["text/html"]


def test_tabs_end_as_a_bundle_and_keep_a_bounded_text() -> None:
    published: list[tuple[dict[str, Any], bool]] = []
    tabs = Tabs(lambda shown, *, update: published.append((shown, update)))
    tabs.take(1, "stream", stream("begin\n"))
    for _ in range(30):
        tabs.take(1, "stream", stream("x" * 10_000 + "\n"))
    tabs.take(1, "stream", stream("end\n"))
    tabs.finish()
    (live, first), (emptied, second), (kept, last) = published
    assert (first, second, last) == (False, True, False)
    assert "application/vnd.jupyter.widget-view+json" in live
    assert emptied == EMPTY, "the tabs' place is empty, and what is kept stands below the output of rank 0"
    text = kept["text/plain"]
    assert len(text) <= KEPT_CHARACTERS + 1000
    assert "dropped" in text
    assert text.endswith("[rank 1] end")


def test_a_short_output_is_open_a_long_one_is_folded_and_both_have_their_last_line() -> None:
    long = "".join(f"step {step}\n" for step in range(OPEN_LINES + 1))
    shown = bundle({1: "begin\n\x1b[32mdone\x1b[0m\n\n", 2: long, 3: "\n"})["text/html"]
    short, folded, blank = re.findall(r"<details.*?</details>", shown, re.DOTALL)
    assert short.startswith('<details open><summary style="cursor: pointer">rank 1 · <code>done</code></summary>')
    assert "begin\ndone" in short
    assert folded.startswith(
        f'<details><summary style="cursor: pointer">rank 2 · <code>step {OPEN_LINES}</code></summary>'
    )
    assert blank.startswith('<details open><summary style="cursor: pointer">rank 3</summary>')


def test_a_bar_is_one_line_and_a_long_line_is_cut_in_the_summary() -> None:
    shown = bundle({1: "\r 10%|#\r100%|##########\n", 2: "x" * 500})["text/html"]
    assert "<code>100%|##########</code>" in shown
    assert " 10%" not in shown
    assert f"<code>{'x' * (SUMMARY_CHARACTERS - 1)}…</code>" in shown


def test_the_tabs_keep_their_order_and_the_chosen_rank() -> None:
    tabs = Tabs(lambda shown, *, update: None)
    tabs.take(2, "stream", stream("two\n"))
    tabs._updated = 0.0
    tabs.take(3, "stream", stream("three\n"))
    tabs._tab.selected_index = 1
    tabs._updated = 0.0
    tabs.take(1, "stream", stream("one\n"))
    assert [tabs._tab.get_title(index) for index in range(3)] == ["rank 1", "rank 2", "rank 3"]
    assert "three" in tabs._tab.children[tabs._tab.selected_index].value
    tabs.finish()


def test_no_output_shows_nothing() -> None:
    published: list[Any] = []
    Tabs(lambda shown, *, update: published.append((shown, update))).finish()
    assert published == []
