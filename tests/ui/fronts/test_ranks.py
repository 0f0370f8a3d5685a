"""Output of other ranks as text: whole lines with their rank, a bundle that survives saving."""

from __future__ import annotations

from typing import Any

from modal_gpu_magic.ui.fronts.ranks import KEPT_CHARACTERS, Prefixed, Tabs, bundle, text_of


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
    (live, first), (kept, last) = published
    assert (first, last) == (False, True)
    assert "application/vnd.jupyter.widget-view+json" in live
    text = kept["text/plain"]
    assert len(text) <= KEPT_CHARACTERS + 1000
    assert "dropped" in text
    assert text.endswith("[rank 1] end")


def test_no_output_shows_nothing() -> None:
    published: list[Any] = []
    Tabs(lambda shown, *, update: published.append((shown, update))).finish()
    assert published == []
