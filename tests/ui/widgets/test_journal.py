"""What a cell put out is kept up to a limit, and what it took back is not."""

from __future__ import annotations

from modal_gpu_magic.ui.widgets.journal import Act, Journal


def _line(text: str) -> Act:
    return Act("stream", {"name": "stdout", "text": text})


def test_it_is_kept_in_order_until_it_is_too_much() -> None:
    journal = Journal(max_bytes=1000)
    journal.add(_line("one"))
    journal.add(_line("two"))
    assert journal.acts == (_line("one"), _line("two"))
    journal.add(_line("three" * 200))
    assert journal.acts is None
    assert journal.size > 1000


def test_what_was_taken_back_is_forgotten() -> None:
    journal = Journal(max_bytes=1000)
    journal.add(_line("much" * 300))
    journal.clear()
    journal.add(_line("kept"))
    assert journal.acts == (_line("kept"),)
