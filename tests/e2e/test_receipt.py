"""One card below all output of a cell, whatever became of the cell, and true for as long as the kernel can change it."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.kernel import OURS

if TYPE_CHECKING:
    from tests.e2e.kernel import Kernel, Message, Result

CLOCK = r"\d\d:\d\d \S+"


def kind(message: Message) -> str:
    """`receipt`, `status` or `note` of ours; else the kind of the message."""
    return str(message.content.get("metadata", {}).get(OURS, {}).get("kind", message.kind))


def place(message: Message) -> str:
    return str(message.content.get("transient", {}).get("display_id", ""))


def cards(result: Result) -> list[Message]:
    return [note for note in result.notes if kind(note) == "receipt"]


def seen(result: Result) -> list[str]:
    """What is below each other when the cell has ended, as text. A print may come in pieces."""
    shown: dict[str, tuple[str, str]] = {}
    for number, message in enumerate(result.all):
        text = message.text or str(message.content.get("ename", ""))
        if message.kind == "clear_output":
            shown.clear()
        elif message.kind == "update_display_data":
            shown[place(message)] = (message.kind, text)
        else:
            shown[place(message) or str(number)] = (message.kind, text)
    texts: list[str] = []
    before = ""
    for kind_, text in [each for each in shown.values() if each[1]]:
        if kind_ == before == "stream":
            texts[-1] += text
        else:
            texts.append(text)
        before = kind_
    return texts


def updated(kernel: Kernel, source: str, text: str) -> dict[str, Any]:
    """The card that another cell updates with this text."""
    kernel.send(source)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for message in kernel.listen(0.2):
            if message.kind == "update_display_data" and re.search(text, " ".join(message.text.split())):
                return message.content
    raise AssertionError(text)


def test_a_short_cell_has_one_card_below_its_output(kernel: Kernel) -> None:
    result = kernel.remote("print('out')\n41 + 1")
    (card,) = cards(result)
    assert result.all[-1] is card
    assert re.match(
        rf"done · H100 simulated on this CPU · .* · free \(\S.* on Modal\) · .*idle until {CLOCK} at the latest ·",
        " ".join(card.text.split("\n")),
    )
    assert card.text.count("simulated") == 1
    html = card.content["data"]["text/html"]
    assert html.startswith("<div style=")
    assert "<details><summary" in html
    if (took := re.search(r" · (\d+) ms · ", " ".join(card.text.split("\n")))) is not None:
        assert "<img" not in html, f"no chart of a run of {took[1]} ms"


SLOW = "import time\ntime.sleep(1.5)\n"


@pytest.mark.parametrize(
    "source, output",
    [
        ("print('out')", ["out\n"]),
        ("print('out')\n7", ["out\n", "7"]),
        ("print('out')\n1 / 0", ["out\n", "ZeroDivisionError"]),
        ("1 / 0", ["ZeroDivisionError"]),
        ("pass", []),
        ("from IPython.display import clear_output\nprint('a')\nclear_output()\nprint('b')", ["b\n"]),
        ("raise KeyboardInterrupt", ["KeyboardInterrupt"]),
    ],
)
@pytest.mark.parametrize("slow", ["", SLOW], ids=["fast", "slow"])
def test_the_card_is_below_everything(kernel: Kernel, source: str, output: list[str], slow: str) -> None:
    result = kernel.remote(slow + source)
    *above, card = seen(result)
    assert card.startswith("done · " if result.ok else "failed · "), seen(result)
    assert [text for text in above if not text.startswith(("running", "starting", "waiting"))][
        -len(output) or 9 :
    ] == output
    assert kind(result.all[-1]) == "receipt"


def test_a_stopped_cell(kernel: Kernel) -> None:
    result = kernel.remote("import time\nprint('ready', flush=True)\ntime.sleep(600)", press=["ready"])
    *_, error, card = seen(result)
    assert error == "KeyboardInterrupt"
    assert card.startswith("stopped · H100 simulated on this CPU · ")


def test_a_cell_out_of_time(kernel: Kernel) -> None:
    *_, error, card = seen(kernel.remote("import time\ntime.sleep(600)", "H100 --timeout 2"))
    assert error == "CellTimeout"
    assert card.startswith("timed out · ")


def test_a_lost_container(renewed: Kernel) -> None:
    *_, card = seen(renewed.remote("import os\nprint('x', flush=True)\nos._exit(3)"))
    assert card.startswith("lost · ")
    assert "container ended" in card


def test_without_a_gpu(renewed: Kernel) -> None:
    *_, card = seen(renewed.remote("print(1)", "--backend local --session none"))
    assert card.startswith("done · this machine's CPU · ")
    assert "simulated" not in card


def test_a_fallback_and_transfers(kernel: Kernel) -> None:
    kernel.run("sent = b'x' * 2_000_000")
    *_, card = seen(kernel.remote("got = bytes(3_000_000)\nlen(sent)", "H100 A100-80GB --session other"))
    text = " ".join(card.split("\n"))
    assert text.startswith("done · H100 simulated on this CPU · ")
    assert "asked H100 A100-80GB" in text
    assert "sent 2.0 MB · received 3.0 MB" in text


def test_the_next_cell_and_the_end_of_the_session_are_seen_in_the_card(renewed: Kernel) -> None:
    (first,) = cards(renewed.remote("1"))
    again = updated(renewed, "%%modal_gpu H100\nsecond = 2", f"^done · .*idle until the next cell at {CLOCK} ")
    assert again["transient"]["display_id"] == place(first)
    assert "idle until the next cell" in again["data"]["text/html"]
    ended = updated(renewed, "%modal_gpu stop", f"container ended at {CLOCK} ")
    assert ended["transient"]["display_id"] != place(first)


def test_the_end_of_the_idle_time_is_seen_in_the_card(renewed: Kernel) -> None:
    (card,) = cards(renewed.remote("1", "H100 --keep-warm 2"))
    ended = updated(renewed, "pass", f"container ended at {CLOCK} ")
    assert ended["transient"]["display_id"] == place(card)


def test_quiet_has_no_card_after_an_error_either(kernel: Kernel) -> None:
    assert cards(kernel.remote("1 / 0", "H100 --quiet")) == []
    assert kernel.run("1").notes == ()


def test_shown_again_the_card_is_below_the_output(kernel: Kernel) -> None:
    kernel.remote("print('out')")
    shown = kernel.run("%modal_gpu last").all
    assert [kind(message) for message in shown] == ["stream", "receipt"]


def test_in_a_cell_that_goes_on(kernel: Kernel) -> None:
    source = "print('before')\nget_ipython().run_cell_magic('modal_gpu', 'H100', 'print(1)')\nprint('after')"
    assert [text.partition(" ")[0] for text in seen(kernel.run(source))] == ["before\n1\n", "done", "after\n"]
