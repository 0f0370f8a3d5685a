"""`input()` in a cell: asked through an event, answered, interrupted, refused."""

from __future__ import annotations

import os
import queue
import threading
from pathlib import Path

import pytest

from modal_gpu_magic.container.output.event_sender import EventSender
from modal_gpu_magic.container.output.stdin_proxy import StdinProxy
from modal_gpu_magic.container.process.interrupt import PRESS, Interrupt
from tests.container.far_side import FarSide
from tests.container.smi_double import eventually


def asked(events: list[object]) -> list[tuple[str, bool]]:
    return [(e.content["prompt"], e.content["password"]) for e in events if e.kind == "input_request"]  # type: ignore[attr-defined]


def test_a_question_follows_what_was_printed(far: FarSide) -> None:
    ran = far.run("print('hello'); a = input('name? '); print('hi', a); b = input(5)", answers=("Ada", "Bob"))
    assert ran.kinds() == ["stream", "input_request", "stream", "input_request"]
    assert ran.text() == "hello\nhi Ada\n"
    assert asked(list(ran.events)) == [("name? ", False), ("5", False)]


def test_a_password_is_asked_for_as_one(shared: FarSide) -> None:
    ran = shared.run("import getpass\ngetpass.getpass('key: ')", answers=("s3",))
    assert (asked(list(ran.events)), ran.result) == ([("key: ", True)], "'s3'")


def test_end_of_input_and_nobody_to_ask(shared: FarSide) -> None:
    assert shared.run("input()", answers=("\x04",)).ename == "EOFError"
    ran = shared.run("input()")
    assert ran.ename == "StdinNotImplementedError"
    assert ran.evalue == "raw_input was called, but this frontend does not support input requests."
    assert ran.kinds() == ["failed"]
    assert shared.run("input").result != "own_input"


def test_a_question_can_be_interrupted_and_the_next_one_is_answered(shared: FarSide, tmp_path: Path) -> None:
    source = "try:\n    input('one? ')\nexcept KeyboardInterrupt as e:\n    print(e)\ninput('two? ')"
    shared.send(source, answers=(), posts=str(tmp_path))
    for number in (1, 2):  # each question is posted while the cell waits
        eventually((tmp_path / f"input_request {number}").exists)
        shared.press()
    ran = shared.ended()
    assert ran.text() == "Interrupted by user\n"
    assert (ran.ename, ran.evalue) == ("KeyboardInterrupt", "Interrupted by user")
    assert shared.run("input('three? ')", answers=("3",)).result == "'3'"


def interrupted(input_proxy: StdinProxy, posted: list[bytes]) -> None:
    """A question that is interrupted while it waits."""

    def press() -> None:
        eventually(lambda: posted)
        os.kill(os.getpid(), PRESS)

    thread = threading.Thread(target=press)
    with Interrupt() as interrupt:
        thread.start()
        with pytest.raises(KeyboardInterrupt), interrupt.window():
            input_proxy.ask("one? ")
    thread.join()


def test_a_late_answer_to_an_interrupted_question_is_nobody_s() -> None:
    sender, answers, posted = EventSender(), queue.SimpleQueue[str](), list[bytes]()
    input_proxy = StdinProxy(sender)
    sender.begin("r", posted.extend)
    input_proxy.begin(answers.get)
    interrupted(input_proxy, posted)
    answers.put("late")
    fetch = input_proxy._fetch
    assert fetch is not None
    eventually(lambda: not fetch._answers.empty())
    answers.put("2")
    assert input_proxy.ask("two? ") == "2"
    sender.close()


def test_the_fetch_of_an_interrupted_question_serves_the_next_one() -> None:
    sender, answers = EventSender(), queue.SimpleQueue[str]()
    input_proxy = StdinProxy(sender)
    fetches, posted = list[None](), list[bytes]()

    def answer() -> str:
        fetches.append(None)
        return answers.get()

    def answer_the_second() -> None:
        eventually(lambda: posted)
        answers.put("2")

    sender.begin("r", posted.extend)
    input_proxy.begin(answer)
    interrupted(input_proxy, posted)
    posted.clear()
    threading.Thread(target=answer_the_second).start()
    assert input_proxy.ask("two? ") == "2"
    assert len(fetches) == 1
    sender.close()


def test_asking_is_back_to_normal_outside_a_cell(shared: FarSide, tmp_path: Path) -> None:
    ran = shared.run("import builtins, getpass\nbuiltins.input.__name__, getpass.getpass.__name__")
    assert ran.result == "('own_input', 'own_getpass')"
    shared.run(LOOKS.format(str(tmp_path)))
    (tmp_path / "go").touch()
    eventually((tmp_path / "gone").exists)
    assert shared.run("seen").result in ("[('input', 'unix_getpass')]", "[('input', 'getpass')]")


LOOKS = """
import threading, time
from pathlib import Path
place, seen = Path({!r}), []
def look():
    while not (place / 'go').exists(): time.sleep(0.01)
    seen.append((builtins.input.__name__, getpass.getpass.__name__))
    (place / 'gone').touch()
threading.Thread(target=look).start()
"""
