"""Background cells: their output, their handle, and the values that come back between two cells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.e2e.compare import merged
from tests.e2e.detached_user import wait_until
from tests.e2e.kernel import OURS, Listener

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.e2e.kernel import Kernel, Message


@pytest.fixture(scope="module")
def page(kernel: Kernel) -> Iterator[Listener]:
    """What a page receives, whichever cell runs."""
    with Listener(kernel) as listener:
        yield listener


UNTIL_FILE = """\
import pathlib, time
while not pathlib.Path({path!r}).exists():
    time.sleep(0.02)
"""
"""Lines of a cell that runs until a file exists: the test decides when the cell goes on."""


_HELD: list[Path] = []


@pytest.fixture(autouse=True)
def _let_go() -> Iterator[None]:
    """A test that fails holds up no other."""
    yield
    while _HELD:
        path = _HELD.pop()
        if path.parent.exists():
            path.touch()


def holding(kernel: Kernel, name: str) -> tuple[str, Callable[[], None]]:
    """Lines that hold a cell, and a function that lets it go on."""
    path = kernel.home / name
    _HELD.append(path)
    return UNTIL_FILE.format(path=str(path)), path.touch


def shows(text: str) -> Callable[[list[Message]], bool]:
    """Whether a text is among the outputs of a cell."""
    return lambda messages: any(text in shown for _, shown in merged(messages))


def ended(messages: list[Message]) -> bool:
    """Whether the receipt of a cell is among its messages."""
    return any(is_receipt(message) for message in messages)


def is_receipt(message: Message) -> bool:
    """Whether a message is the receipt of a run."""
    return bool(message.content.get("metadata", {}).get(OURS, {}).get("kind") == "receipt")


def plain(lines: list[str]) -> str:
    """A traceback without its colours."""
    return re.sub(r"\x1b\[[\d;]*m", "", "\n".join(lines))


def own(messages: list[Message]) -> list[Message]:
    """The messages without those of the magic."""
    return [message for message in messages if not message.ours]


def texts(messages: list[Message]) -> list[str]:
    """The texts of the cell's own outputs."""
    return [text for _, text in merged(own(messages))]


def test_the_cell_returns_at_once_and_its_values_come_when_it_has_ended(kernel: Kernel, page: Listener) -> None:
    hold, release = holding(kernel, "returns")
    kernel.run("seen = [1]")
    cell = kernel.remote(f"print('begun')\n{hold}seen.append(2)\nmade = 'new'\nlen(seen)", "T4 --bg first")
    assert cell.ok, cell.error
    assert kernel.print("(first.done(), seen, 'made' in globals())") == "(False, [1], False)"
    assert re.fullmatch(r"first: [\w ]+ · 0:\d\d( · .*)?", kernel.print("first"))
    assert texts(page.of(cell, shows("begun\n"))) == ["begun\n"]
    release()
    assert texts(page.of(cell, ended)) == ["begun\n", "2"]
    assert kernel.print("(seen, made, first.done(), first.result(), Out[max(Out)])") == "([1, 2], 'new', True, 2, 2)"
    assert kernel.print("first.logs()") == "begun\n2"


def test_later_changes_do_not_reach_the_cell_and_bindings_made_meanwhile_stay(kernel: Kernel, page: Listener) -> None:
    hold, release = holding(kernel, "later")
    kernel.run("early, rebound, gone = {'k': 0}, 1, 2")
    cell = kernel.remote(
        f"{hold}got = early['k'], rebound, gone\nrebound, gone = 'there', 'there'\nearly['made'] = 1", "T4 --bg later"
    )
    assert kernel.run("early['k'] = 5; rebound = 'here'; del gone").ok
    release()
    waited = kernel.run("later.result()\nprint(got, rebound, 'gone' in globals(), early)")
    assert waited.stdout == "(0, 1, 2) here False {'k': 0, 'made': 1}\n", waited.traceback
    page.of(cell, shows("Names that you bound while later ran keep their values: gone, rebound."))
    page.of(cell, shows("What the notebook changed while later ran was replaced by what later returned: early."))


def test_a_failed_cell_shows_its_error_below_itself_and_raises_it_where_it_is_asked_for(
    kernel: Kernel, page: Listener
) -> None:
    cell = kernel.remote("def fail():\n    return 1 / 0\n\nfail()", "T4 --bg bad")
    assert cell.ok
    messages = page.of(cell, ended)
    (shown,) = own(messages)
    assert shown.kind == "error"
    assert "fail()" in plain(shown.content["traceback"])
    (receipt,) = filter(is_receipt, messages)
    assert receipt.text.startswith("failed · T4")
    assert messages.index(receipt) > messages.index(shown)
    asked = kernel.run("bad.result()")
    assert asked.error == "ZeroDivisionError: division by zero"
    assert "fail()" in asked.traceback
    assert "background.py" not in asked.traceback


def test_cancel_stops_the_cell_and_keeps_what_it_did(kernel: Kernel, page: Listener) -> None:
    kernel.run("steps = []")
    cell = kernel.remote("import time\nsteps.append(1)\nprint('on')\ntime.sleep(100)\nsteps.append(2)", "T4 --bg long")
    page.of(cell, shows("on\n"))
    kernel.run("long.cancel()")
    asked = kernel.run("long.result()")
    assert asked.error.startswith("KeyboardInterrupt")
    assert kernel.print("(steps, str(long).split(' · ')[0])") == "([1], 'long: stopped')"


def test_stop_while_the_result_is_awaited_ends_the_wait_alone(kernel: Kernel) -> None:
    hold, release = holding(kernel, "wait")
    kernel.remote(f"{hold}41", "T4 --bg waited")
    asked = kernel.run("print('waiting')\nwaited.result()", press=[("waiting", 0.5)])
    assert asked.error.startswith("KeyboardInterrupt")
    assert kernel.run("waited.result(timeout=0.05)").error.startswith("TimeoutError: waited has not ended after 0.05 s")
    release()
    assert kernel.run("(await waited) + waited.result()").value() == "82"


def test_cells_of_one_session_run_in_order(kernel: Kernel) -> None:
    hold, release = holding(kernel, "order")
    kernel.run("order, base = ['native'], 1")
    kernel.remote(f"{hold}order.append('one')\nbase = base + 1", "T4 --bg one")
    second = kernel.remote("order.append('two')\nbase, order", "T4 --bg two")
    assert re.search(r"two: waits for one, running since \d+:\d\d", second.said), second.said
    assert re.match(r"two: waits for one, running since \d+:\d\d", kernel.print("str(two)"))
    stopped = kernel.remote("order.append('never')", "T4", press=["waits for one, two, running since"])
    assert stopped.error.startswith("KeyboardInterrupt: stopped while the cell waited for one, two, running since")
    release()
    third = kernel.remote("order.append('three')\norder", "T4")
    assert third.value() == "['native', 'one', 'two', 'three']", third.traceback
    assert kernel.print("(two.result(), base)") == "((2, ['native', 'one', 'two', 'three']), 2)"


def test_a_queued_cell_sees_the_values_of_the_time_when_it_was_queued(kernel: Kernel) -> None:
    hold, release = holding(kernel, "queued")
    kernel.run("kept, moved, grown = [0], 'then', [0]")
    kernel.remote(f"{hold}kept.append(1)", "T4 --bg before")
    kernel.remote("saw = kept, moved, grown\nlist(map(str, saw))", "T4 --bg queued")
    kernel.run("moved = 'now'; grown.append('now')")
    release()
    assert kernel.run("queued.result()").value() == "['[0, 1]', 'then', '[0]']"
    assert kernel.print("(kept, moved, grown)") == "([0, 1], 'now', [0, 'now'])"
    assert kernel.print("(saw[0] is kept, saw)") == "(True, ([0, 1], 'then', [0]))"


def test_a_queued_cell_may_be_withdrawn(kernel: Kernel) -> None:
    hold, release = holding(kernel, "withdraw")
    kernel.run("import threading\nlock = threading.Lock()")
    kernel.remote(hold, "T4 --bg ahead")
    refused = kernel.remote("lock", "T4 --bg refused")
    assert refused.error.startswith("TransferError: Cannot send `lock`"), "at once, as without a queue"
    kernel.remote("ran = True", "T4 --bg behind")
    assert kernel.run("behind.cancel(); behind.result()").error.startswith("KeyboardInterrupt: cancelled before")
    release()
    assert kernel.print("(ahead.result(), 'ran' in globals())") == "(None, False)"


def test_another_session_runs_at_once(kernel: Kernel, page: Listener) -> None:
    hold, release = holding(kernel, "other")
    page.of(kernel.remote(f"print('runs')\n{hold}", "T4 --bg busy"), shows("runs\n"))
    other = kernel.remote("'at once'", "T4 --session other")
    assert other.value() == "'at once'", other.traceback
    assert kernel.print("busy.done()") == "False"
    assert "busy: running on T4" in kernel.run("%modal_gpu status").stdout
    refused = kernel.remote("1", "L4 --bg more")
    assert refused.error.startswith("MachineError: busy runs in session default and would lose its machine.")
    taken = kernel.remote("1", "T4 --bg busy")
    assert taken.error.startswith("LineError: busy is still running; write another name, or end it with busy.cancel().")
    release()
    assert kernel.run("busy.result()").ok


def test_input_is_refused_at_once(kernel: Kernel) -> None:
    kernel.remote("input('name? ')", "T4 --bg asks")
    asked = kernel.run("asks.result()", answers=[])
    assert asked.error.startswith("EOFError: input() has no answer in a background cell")
    kernel.remote("import getpass\ngetpass.getpass()", "T4 --bg secret")
    assert kernel.run("secret.result()").error.startswith("EOFError: getpass() has no answer in a background cell")


def test_a_handle_stays_in_the_notebook(kernel: Kernel) -> None:
    kernel.remote("7", "T4 --bg mine")
    assert "send its result, such as r = mine.result()" in kernel.remote("mine", "T4").error
    assert kernel.run("mine.result()").value() == "7"


def test_a_shown_handle_is_updated_in_the_cell_that_shows_it(kernel: Kernel, page: Listener) -> None:
    hold, release = holding(kernel, "shown")
    kernel.remote(hold, "T4 --bg shown")
    view = kernel.run("shown")
    (first,) = view.bundles("display_data")
    assert first["text/plain"].startswith("shown: ")
    release()
    page.of(view, shows("shown: done"))


def test_the_session_is_stopped_in_mid_run(kernel: Kernel, page: Listener) -> None:
    hold, _ = holding(kernel, "never")
    cell = kernel.remote(f"print('in')\n{hold}", "T4 --session ends --bg ending")
    kernel.remote("1", "T4 --session ends --bg waiting")
    page.of(cell, shows("in\n"))
    assert kernel.run("%modal_gpu stop ends").ok
    assert "the session was stopped" in kernel.run("ending.result()").error
    assert "the session was stopped before the cell ran" in kernel.run("waiting.result()").error
    assert kernel.remote("1", "T4 --session ends").value() == "1"
    threads = "[t.name for t in __import__('threading').enumerate() if t.name == 'modal-gpu-background']"
    wait_until(lambda: kernel.print(threads) == "[]")


def test_ranks_and_clusters_run_in_the_background(kernel: Kernel, page: Listener) -> None:
    kernel.run("step = 1")
    ranks = "import os\nprint(f\"rank {os.environ['RANK']}\")\ntotal = step + int(os.environ['WORLD_SIZE'])"
    cell = kernel.remote(ranks, "T4:2 --session ranks --torchrun --ranks all --bg ranks")
    assert kernel.run("ranks.result()\nprint(total)").stdout == "3\n"
    printed = "".join(texts(page.of(cell, ended)))
    assert {"rank 0", "[rank 1] rank 1"} <= set(printed.splitlines()), printed
    kernel.remote(ranks, "T4:8 --session ranks --nodes 2 --torchrun 1 --bg nodes")
    assert kernel.run("nodes.result()\nprint(total)").stdout == "3\n"


def test_a_container_that_has_ended_gets_the_values_again(kernel: Kernel, page: Listener) -> None:
    kernel.run("given = [1]")
    process = kernel.remote("given.append(2)\nimport os\nos.getpid()", "T4 --session killed").value()
    ending = f"import os, psutil\np = psutil.Process({process})\np.kill()\np.wait(30)"
    assert kernel.run(ending).ok
    cell = kernel.remote("given.append(3)\ngiven", "T4 --session killed --bg again")
    assert kernel.run("again.result()").value() == "[1, 2, 3]"
    assert kernel.print("(given, again.result() is given)") == "([1, 2, 3], True)"
    page.of(cell, ended)


def test_the_end_of_a_long_run_is_news_for_its_page(kernel: Kernel, page: Listener) -> None:
    """As a setting says how long a run must be; with and without a dashboard, wherever the cell runs."""
    kernel.run("%config ModalGpu.notify_after = 2")
    sleep = "import time\ntime.sleep(3.5)"
    cell = kernel.remote(sleep, "T4", answers=[])
    assert any("done · T4" in news for news in news_of(page.of(cell, lambda seen: bool(news_of(seen)))))
    kernel.remote(sleep, "T4 --bg slow", answers=[])
    waiting = kernel.run("slow.result()", answers=[])
    page.of(waiting, lambda _: any("slow: done · T4" in news for news in news_of(page.everything)))
    cell = kernel.remote(sleep, "T4 --quiet", answers=[])
    assert any("done · T4" in news for news in news_of(page.of(cell, lambda seen: bool(news_of(seen)))))
    kernel.run("%config ModalGpu.dashboard = False")
    cell = kernel.remote(sleep, "T4", answers=[])
    assert any("done · T4" in news for news in news_of(page.of(cell, lambda seen: bool(news_of(seen)))))
    kernel.run("%config ModalGpu.dashboard = True\n%config ModalGpu.notify = False")
    cell = kernel.remote(sleep, "T4", answers=[])
    assert not news_of(page.of(cell, ended))


def news_of(messages: list[Message]) -> list[str]:
    """The texts of notifications."""
    said = [message.content.get("data", {}).get("content", {}) for message in messages if message.kind == "comm_msg"]
    return [each["text"] for each in said if each.get("type") == "news"]


def test_nothing_is_left_after_a_shutdown_in_mid_run(fresh: Kernel) -> None:
    hold, _ = holding(fresh, "down")
    with Listener(fresh) as page:
        page.of(fresh.remote(f"print('in')\n{hold}", "T4 --bg down"), shows("in\n"))
    fresh.restart()
    wait_until(lambda: len(fresh.processes()) == 1)
