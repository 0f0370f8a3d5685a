"""Results of finished calls on disk: what comes back, and what is dropped beyond the limits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from modal_proto import api_pb2

from modal_gpu_magic.control_plane.scheduling.result_archive import ResultArchive
from modal_gpu_magic.control_plane.scheduling.state import App, Call, Function, Input
from tests.control_plane.scene import ASYNC

FUNCTION = Function("fu-1", App("ap-1", detached=False), api_pb2.Function())
FUNCTIONS = {FUNCTION.id: FUNCTION}


def finished(name: str, data: bytes = b"result") -> Call:
    call = Call(name, FUNCTION, ASYNC, was_read=True)
    call.inputs[f"in-{name}"] = Input(f"in-{name}", call, 0, api_pb2.FunctionInput(), attempt=1, done=True)
    for attempt, status in enumerate(("FAILURE", "SUCCESS")):
        result = api_pb2.GenericResult(status=getattr(api_pb2.GenericResult, f"GENERIC_STATUS_{status}"), data=data)
        output = api_pb2.FunctionGetOutputsItem(result=result, idx=0, input_id=f"in-{name}", retry_count=attempt)
        call.completed.append(output)
    call.outputs[0] = call.completed[-1]
    return call


@pytest.fixture
def small(tmp_path: Path) -> Iterator[ResultArchive]:
    archive = ResultArchive(tmp_path / "results", most_calls=3, most_bytes=10_000)
    yield archive
    archive.close()


def test_a_call_comes_back_as_it_was(small: ResultArchive) -> None:
    call = finished("fc-1")
    small.store(call)
    back = small.load("fc-1", FUNCTIONS)
    assert back is not None
    facts = [
        (each.id, each.function, each.invocation, each.created_at, each.outputs, each.completed, each.unfinished)
        for each in (call, back)
    ]
    assert facts[0] == facts[1]
    inputs = [[(key, each.attempt, each.index, each.done) for key, each in one.inputs.items()] for one in (call, back)]
    assert inputs[0] == inputs[1]
    assert back.was_read


def test_what_is_not_kept(small: ResultArchive) -> None:
    small.store(finished("fc-1"))
    assert small.load("fc-2", FUNCTIONS) is None
    assert small.load("fc-1", {}) is None  # its app is forgotten


def test_the_oldest_calls_are_dropped(small: ResultArchive) -> None:
    for number in range(5):
        small.store(finished(f"fc-{number}"))
    assert [small.load(f"fc-{number}", FUNCTIONS) is not None for number in range(5)] == [
        False,
        False,
        True,
        True,
        True,
    ]


def test_many_bytes_are_few_calls(small: ResultArchive) -> None:
    for number in range(2):
        small.store(finished(f"fc-{number}", b"x" * 4000))
    assert [small.load(f"fc-{number}", FUNCTIONS) is not None for number in range(2)] == [False, True]
    small.store(finished("fc-2", b"x" * 20_000))
    assert small.load("fc-2", FUNCTIONS) is None
