"""The life of a run: every row of the table, what a user does and a cloud may do, and that each stop comes to an end."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modal_gpu_magic.session.run.lifecycle import (
    KILL_LIMIT,
    LIMITS,
    SAME_PRESS,
    STOP_LIMIT,
    TRANSITIONS,
    UNBEGUN_LIMIT,
    Action,
    Life,
    Lifecycle,
    Message,
)

STORIES: dict[str, tuple[str, str]] = {
    # name: (messages; a number lets seconds pass, with what is due then), (the states and actions on the way)
    "it ends by itself": ("BEGUN RESULT COMPLETE", "RUNNING RETURNED OVER"),
    "an event is lost": ("BEGUN RESULT 3.1", "RUNNING RETURNED OVER"),
    "it ends before it was seen to begin": ("RESULT COMPLETE", "RETURNED OVER"),
    "its container dies": ("BEGUN FAILED DRAINED", "RUNNING LOST+DRAIN OVER"),
    "the queue has died with it": ("BEGUN FAILED 20.1", "RUNNING LOST+DRAIN OVER"),
    "the backend is gone": ("BEGUN UNREACHABLE", "RUNNING OVER"),
    "stopped before it was sent": ("PRESS UNSENT", "STOPPING+CANCEL OVER"),
    "stopped, and nobody answers": ("PRESS 1.6", "STOPPING+CANCEL OVER"),
    "stopped while it runs": ("BEGUN PRESS END", "RUNNING INTERRUPTED+CANCEL OVER"),
    "stopped, and the call ends first": (
        "BEGUN PRESS FAILED END",
        "RUNNING INTERRUPTED+CANCEL CANCELLED+DRAIN OVER",
    ),
    "stopped, and its answer is lost": (
        "BEGUN PRESS FAILED 0.6 END",
        "RUNNING INTERRUPTED+CANCEL CANCELLED+DRAIN CANCELLED+ASK OVER",
    ),
    "stopped, and another container answers": (
        "BEGUN PRESS FAILED 0.6 GONE",
        "RUNNING INTERRUPTED+CANCEL CANCELLED+DRAIN CANCELLED+ASK OVER",
    ),
    "stopped before it began, in a warm container": (
        "PRESS FAILED 0.6 NEVER",
        "STOPPING+CANCEL UNSEEN+DRAIN UNSEEN+ASK OVER",
    ),
    "stopped before it began, in a cold container": (
        "PRESS FAILED_COLD DRAINED 0.6",
        "STOPPING+CANCEL COLD+DRAIN UNHEARD OVER",
    ),
    "stopped, and it turns out to have begun": (
        "PRESS FAILED BEGUN END",
        "STOPPING+CANCEL UNSEEN+DRAIN CANCELLED OVER",
    ),
    "a double click is one press": ("BEGUN PRESS 1 PRESS END", "RUNNING INTERRUPTED+CANCEL INTERRUPTED OVER"),
    "a second press ends the container": (
        "BEGUN PRESS 3 PRESS FAILED DRAINED",
        "RUNNING INTERRUPTED+CANCEL INTERRUPTED+HINT KILLING+TERMINATE KILLED+DRAIN OVER",
    ),
    "a second press, and the server is silent": (
        "BEGUN PRESS 3 PRESS 1.6",
        "RUNNING INTERRUPTED+CANCEL INTERRUPTED+HINT KILLING+TERMINATE OVER",
    ),
    "it does not stop": (
        "BEGUN PRESS 3 28 1.6",
        "RUNNING INTERRUPTED+CANCEL INTERRUPTED+HINT KILLING+TERMINATE OVER",
    ),
    "it ignores its timeout": ("BEGUN 26 FAILED DRAINED", "RUNNING KILLING+TERMINATE KILLED+DRAIN OVER"),
    "another node fails": ("BEGUN END_ELSEWHERE FAILED DRAINED", "RUNNING ELSEWHERE ELSEWHERE+DRAIN OVER"),
    "it is pressed at the very end": ("BEGUN RESULT PRESS COMPLETE", "RUNNING RETURNED RETURNED OVER"),
    "it begins again after a preemption": ("BEGUN 9 BEGUN 9 RESULT COMPLETE", "RUNNING RUNNING RETURNED OVER"),
}


def trace(life: Lifecycle, messages: str) -> str:
    """What a life does for a story, as the table above writes it."""
    now, found = 0.0, []

    def feed(message: Message) -> None:
        action = life.receive(message, now)
        found.append(life.state.name + ("" if action is Action.NOTHING else f"+{action.name}"))

    for word in messages.split():
        if word[0].isdigit():
            now += float(word)
            for due in life.due(now):
                feed(due)
        else:
            feed(Message[word])
    return " ".join(found)


@pytest.mark.parametrize("name", STORIES)
def test_a_story(name: str) -> None:
    messages, expected = STORIES[name]
    assert trace(Lifecycle(0.0, timeout=10), messages) == expected


def test_what_a_run_was() -> None:
    life = Lifecycle(0.0, timeout=10)
    assert trace(life, "BEGUN 26 FAILED DRAINED").endswith("OVER")
    assert (life.begun, life.presses, life.terminated, life.timed_out) == (True, 0, True, True)
    life = Lifecycle(0.0)
    assert trace(life, "BEGUN PRESS 1 PRESS END").endswith("OVER")
    assert (life.begun, life.presses, life.terminated, life.timed_out) == (True, 1, False, False)


def paths() -> dict[Life, tuple[Message, ...]]:
    """The shortest messages that lead from the beginning to each state."""
    found: dict[Life, tuple[Message, ...]] = {Life.WAITING: ()}
    waiting = deque([Life.WAITING])
    while waiting:
        state = waiting.popleft()
        for (before, message), (after, _) in TRANSITIONS.items():
            if before is state and after not in found:
                found[after] = (*found[state], message)
                waiting.append(after)
    return found


PATHS = paths()


def test_every_state_is_reached_and_left() -> None:
    assert PATHS.keys() == set(Life) == LIMITS.keys()
    ends = {before for (before, _), (after, _) in TRANSITIONS.items() if after is Life.OVER}
    assert ends >= set(Life) - {Life.OVER, Life.INTERRUPTED, Life.CANCELLED}
    assert not [row for row in TRANSITIONS if row[0] is Life.OVER]


@pytest.mark.parametrize("row", TRANSITIONS, ids=lambda row: f"{row[0].name} {row[1].name}")
def test_a_row(row: tuple[Life, Message]) -> None:
    """From the beginning to the state of the row, each message later than two presses may be one, and on by the row."""
    life, now = Lifecycle(0.0), 0.0
    for message in PATHS[row[0]]:
        now += SAME_PRESS
        life.receive(message, now)
    assert life.state is row[0]
    action = life.receive(row[1], now + SAME_PRESS)
    assert (life.state, action) == TRANSITIONS[row]


@pytest.mark.parametrize("message", Message)
def test_a_message_without_a_row_changes_nothing(message: Message) -> None:
    for state, path in PATHS.items():
        if (state, message) not in TRANSITIONS:
            life = Lifecycle(0.0)
            for number, each in enumerate(path):
                life.receive(each, number * SAME_PRESS)
            assert life.receive(message, 100.0) is Action.NOTHING
            assert life.state is state


OF_TIME = {limit.message for limits in LIMITS.values() for limit in limits} | {Message.TIMEOUT}
FROM_OUTSIDE = [message for message in Message if message not in OF_TIME]
"""Messages that do not arise from a limit: `due` yields the others, each once."""


@given(st.lists(st.tuples(st.sampled_from(FROM_OUTSIDE), st.floats(0, 5)), max_size=30))
def test_a_stopped_run_ends(steps: list[tuple[Message, float]]) -> None:
    """Whatever has happened: once ■ was pressed, time alone ends a run, and nothing is asked of Modal twice."""
    life, now, actions = Lifecycle(0.0), 0.0, []
    for message, seconds in [*steps, (Message.PRESS, SAME_PRESS)]:
        now += seconds
        actions += [life.receive(due, now) for due in life.due(now)]
        actions.append(life.receive(message, now))
    end = now + STOP_LIMIT + KILL_LIMIT + UNBEGUN_LIMIT + 1
    while not life.is_over and now < end:
        now += max(life.seconds_left(now), 0.001)
        actions += [life.receive(due, now) for due in life.due(now)]
    assert life.is_over
    for once in (Action.CANCEL, Action.TERMINATE, Action.ASK, Action.HINT):
        assert actions.count(once) <= 1
