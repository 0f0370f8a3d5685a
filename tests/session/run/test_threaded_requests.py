"""Requests beside a run: what they bring into the inbox, that they do not pile up, and how the end waits for one."""

from __future__ import annotations

import queue
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from modal.exception import AuthError, NotFoundError

from modal_gpu_magic.errors import GivenUp, MachineError, TakenOver
from modal_gpu_magic.session.run import interrupts
from modal_gpu_magic.session.run.interrupts import Inbox, Presses, press
from modal_gpu_magic.session.run.threaded_requests import ThreadedRequests, text_within, wait_for
from modal_gpu_magic.wire.messages.events import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWER = Answer("g", "1")
SECONDS = 60
"""Seconds that no test takes."""


class Server:
    """Modal, as a call sees it: each request gives `gives`, or raises it, once `is_open` is set."""

    def __init__(self, gives: Any = None, *, call: str | None = "fc-1") -> None:
        self.gives = gives
        self.is_open = threading.Event()
        self.is_open.set()
        self.requests: queue.SimpleQueue[tuple[str, ...]] = queue.SimpleQueue()
        self.inbox = Inbox()
        self.asks = ThreadedRequests(self.called(call), self.inbox)

    def called(self, call: str | None) -> Any:
        """The call of a run `r`."""
        app = SimpleNamespace(flush=self.request("flush"), log=self.request("log"))
        of_call = {name: self.request(name) for name in ("answer", "ended", "running")}
        return SimpleNamespace(app=app, request=SimpleNamespace(run="r"), id=call, **of_call)

    def request(self, name: str) -> Callable[..., Any]:
        def answer(*arguments: str) -> Any:
            assert threading.current_thread() is not threading.main_thread()
            self.requests.put((name, *arguments))
            assert self.is_open.wait(SECONDS)
            if isinstance(self.gives, BaseException):
                raise self.gives
            return self.gives

        return answer

    def settle(self) -> None:
        """Wait for the end of all requests."""
        for thread in threading.enumerate():
            if thread.name == "modal-gpu-request":
                thread.join(SECONDS)

    @property
    def messages(self) -> list[tuple[str, Any]]:
        """What the requests have brought."""
        self.settle()
        found = []
        while not self.inbox.empty():
            found.append(self.inbox.get())
        return found

    @property
    def made(self) -> list[tuple[str, ...]]:
        """The requests."""
        self.settle()
        return [self.requests.get() for _ in range(self.requests.qsize())]


@pytest.mark.parametrize(
    "ask, gives, made, messages",
    [
        (ThreadedRequests.put_marker, None, [("flush", "r")], []),
        (ThreadedRequests.put_marker, NotFoundError("the queue"), [("flush", "r")], [("flush", "r")]),
        (ThreadedRequests.put_marker, MachineError("no network"), [("flush", "r")], []),
        (ThreadedRequests.ask_for_end, ANSWER, [("ended",)], [("settled", ANSWER)]),
        (ThreadedRequests.ask_for_end, None, [("ended",)], [("settled", None)]),
        (ThreadedRequests.ask_for_end, MachineError("it ends"), [("ended",)], []),
        (ThreadedRequests.ask_for_state, True, [("running",)], [("booting", None)]),
        (ThreadedRequests.ask_for_state, False, [("running",)], [("queued", None)]),
        (ThreadedRequests.ask_for_state, None, [("running",)], []),
        (ThreadedRequests.read_log, "text", [("log",)], [("log", "text")]),
        (lambda asks: asks.answer("yes"), None, [("answer", "yes")], []),
        (lambda asks: asks.answer("yes"), TakenOver("another"), [("answer", "yes")], []),
        (lambda asks: asks.answer("yes"), NotFoundError("the App"), [("answer", "yes")], []),
        (
            lambda asks: asks.answer("yes"),
            AuthError("Token expired."),
            [("answer", "yes")],
            [
                (
                    "unanswered",
                    "The answer to input() was not sent: Modal refused the token (Token expired): run `modal setup` in a "
                    "terminal and restart the kernel, or use --backend local. The cell waits for the answer; ■ stops the "
                    "cell.",
                )
            ],
        ),
        (
            lambda asks: asks.answer("yes"),
            GivenUp("the connection to Modal was lost for 9 s (no route)", "The run goes on."),
            [("answer", "yes")],
            [
                (
                    "unanswered",
                    "The answer to input() was not sent: the connection to Modal was lost for 9 s (no route). The cell "
                    "waits for the answer; ■ stops the cell.",
                )
            ],
        ),
    ],
)
def test_what_a_request_brings(
    ask: Callable[[ThreadedRequests], None], gives: Any, made: list[tuple[str, ...]], messages: list[tuple[str, Any]]
) -> None:
    server = Server(gives)
    ask(server.asks)
    assert server.made == made
    assert server.messages == messages


def test_a_call_without_an_id_has_no_state() -> None:
    server = Server(gives=True, call=None)
    server.asks.ask_for_state()
    assert (server.made, server.messages) == ([], [])


def test_a_request_in_progress_is_not_made_again_and_holds_no_other_back() -> None:
    server = Server("text")
    server.is_open.clear()
    for _ in range(3):
        server.asks.read_log()
        server.asks.put_marker()
    assert {server.requests.get(timeout=SECONDS)[0] for _ in range(2)} == {"log", "flush"}
    server.is_open.set()
    assert server.messages == [("log", "text")]
    assert server.made == []
    server.asks.read_log()
    assert server.messages == [("log", "text")]


def test_two_answers_are_two_requests() -> None:
    server = Server()
    server.is_open.clear()
    server.asks.answer("one")
    server.asks.answer("two")
    assert {server.requests.get(timeout=SECONDS)[1] for _ in range(2)} == {"one", "two"}
    server.is_open.set()
    server.settle()


def test_a_request_that_failed_prints_nothing_and_is_made_again() -> None:
    server = Server(MachineError("no network"))
    for _ in range(2):
        server.asks.put_marker()
        assert server.made == [("flush", "r")]


def test_the_end_waits_for_a_request() -> None:
    done: list[bool] = []
    wait_for(lambda: done.append(threading.current_thread() is not threading.main_thread()))
    assert done == [True]


def test_a_press_ends_the_wait_and_the_request_continues() -> None:
    may_end, has_ended = threading.Event(), threading.Event()

    def request() -> None:
        while not interrupts._RAISING.is_set():
            time.sleep(0.01)
        press(presses.inbox)
        if may_end.wait(SECONDS):
            has_ended.set()

    with Presses() as presses:
        with pytest.raises(KeyboardInterrupt):
            wait_for(request)
        assert presses.inbox.empty()
    may_end.set()
    assert has_ended.wait(SECONDS)


def test_a_text_is_waited_for_so_long() -> None:
    may_end = threading.Event()
    assert text_within(SECONDS, lambda: "text") == "text"
    assert text_within(0.05, lambda: str(may_end.wait(SECONDS))) == ""
    may_end.set()
