"""What a silent front keeps of a run that puts out more than anybody reads."""

from __future__ import annotations

from modal_gpu_magic.session.run.front import EVENT_BYTES, NOTES, SilentFront
from modal_gpu_magic.wire.messages.events import Event
from modal_gpu_magic.wire.messages.log import weigh


def test_the_newest_output_is_kept() -> None:
    front = SilentFront()
    piece = "x" * (EVENT_BYTES // 8)
    for number in range(20):
        front.event(Event(number, "stream", {"name": "stdout", "text": piece}))
        front.event(Event(number, "display_data", {"data": {"image/png": piece}, "metadata": {}}))
    assert sum(weigh(event.content) for event in front.events) <= EVENT_BYTES
    assert front.events[-1].number == 19
    assert front.text
    assert set(front.text) == {"x"}


def test_an_event_that_is_too_large_alone_is_kept() -> None:
    front = SilentFront()
    front.event(Event(0, "stream", {"name": "stdout", "text": "small"}))
    front.event(Event(1, "stream", {"name": "stdout", "text": "y" * (EVENT_BYTES + 1)}))
    assert [event.number for event in front.events] == [1]


def test_the_newest_lines_are_kept() -> None:
    front = SilentFront()
    for number in range(NOTES + 5):
        front.say(str(number))
    assert len(front.notes) == NOTES
    assert front.notes[-1] == str(NOTES + 4)
