"""The small parts that have no process: ids, logs, queues' partitions, messages, tokens, sentences."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modal_proto import api_pb2

from modal_gpu_magic.catalog.limits import QUEUE_ITEM_BYTES, QUEUE_ITEMS, QUEUE_PARTITION_BYTES
from modal_gpu_magic.control_plane import messages, refusals
from modal_gpu_magic.control_plane.containers.child import describe_end
from modal_gpu_magic.control_plane.rpc.credentials import Token
from modal_gpu_magic.control_plane.rpc.listener import unsupported
from modal_gpu_magic.control_plane.scheduling.broadcast import Broadcast
from modal_gpu_magic.control_plane.scheduling.state import LOG_BYTES, Log, new_id
from modal_gpu_magic.control_plane.servicers.queues import Partition


def test_ids_are_what_the_sdk_takes_for_ids() -> None:
    first, second = new_id("fc"), new_id("fc")
    assert first != second
    assert first.count("-") == 1
    assert sorted([second, first]) == [first, second]


def entry(text: str) -> api_pb2.TaskLogsBatch:
    return api_pb2.TaskLogsBatch(items=[api_pb2.TaskLogs(data=text)])


@pytest.mark.parametrize(("written", "seen", "first"), [(0, 0, None), (3, 0, 1), (3, 2, 3), (3, 3, None), (3, 9, None)])
def test_a_log_goes_on_behind_what_was_seen(written: int, seen: int, first: int | None) -> None:
    log = Log()
    for number in range(written):
        log.append(entry(str(number)))
    after = log.after(seen)
    assert [int(batch.entry_id) for batch in after] == ([] if first is None else list(range(first, written + 1)))


def test_a_log_drops_the_oldest() -> None:
    log = Log()
    for _ in range(10):
        log.append(entry("x" * (LOG_BYTES // 8)))
    kept = log.after(0)
    assert [int(batch.entry_id) for batch in kept] == list(range(4, 11))
    assert log.size == sum(batch.ByteSize() for batch in kept) <= LOG_BYTES


@given(st.lists(st.one_of(st.lists(st.binary(max_size=20), max_size=5), st.integers(1, 6)), max_size=30))
def test_a_partition_is_a_line(steps: list[list[bytes] | int]) -> None:
    partition, model = Partition(), list[bytes]()
    for step in steps:
        if isinstance(step, list):
            partition.put(step)
            model += step
        else:
            assert partition.take(step) == model[:step]
            del model[:step]
    assert [value for _, value in partition.items] == model
    assert partition.size == sum(map(len, model))


@pytest.mark.parametrize(
    ("values", "refusal"),
    [
        ([b""] * (QUEUE_ITEMS + 1), refusals.Full),
        ([b"x" * (QUEUE_ITEM_BYTES + 1)], refusals.Invalid),
        ([b"x" * QUEUE_ITEM_BYTES] * (QUEUE_PARTITION_BYTES // QUEUE_ITEM_BYTES + 1), refusals.Full),
    ],
)
def test_a_partition_takes_all_or_nothing(values: list[bytes], refusal: type[Exception]) -> None:
    partition = Partition()
    with pytest.raises(refusal):
        partition.put(values)
    assert (len(partition.items), partition.size) == (0, 0)


def test_fields_that_the_sdk_does_not_have_are_left_out() -> None:
    made = messages.known(api_pb2.AppCreateResponse, app_id="ap-1", invented_in_2031=1)
    assert made == api_pb2.AppCreateResponse(app_id="ap-1")


def test_shared_fields_of_every_shape() -> None:
    source = api_pb2.Function(function_name="f", timeout_secs=7, function_type=api_pb2.Function.FUNCTION_TYPE_GENERATOR)
    source.autoscaler_settings.max_containers = 0
    source.method_definitions["m"].function_name = "C.m"
    source.experimental_options["a"] = "1"
    source.supported_input_formats.append(api_pb2.DATA_FORMAT_PICKLE)
    target = messages.shared_fields(source, api_pb2.FunctionData)
    assert (target.function_name, target.timeout_secs, target.function_type) == (
        "f",
        7,
        api_pb2.Function.FUNCTION_TYPE_GENERATOR,
    )
    assert target.autoscaler_settings.HasField("max_containers")
    assert target.method_definitions["m"].function_name == "C.m"
    assert dict(target.experimental_options) == {"a": "1"}
    assert list(target.supported_input_formats) == [api_pb2.DATA_FORMAT_PICKLE]
    assert not target.HasField("schedule")


@pytest.mark.parametrize("shown", [{}, {"id": "ak-1"}, {"id": "ak-1", "secret": "as-"}, {"id": "", "secret": "as-1"}])
def test_a_token_is_both_halves(shown: dict[str, str]) -> None:
    token = Token("ak-1", "as-1")
    token.check({"x-modal-token-id": "ak-1", "x-modal-token-secret": "as-1"})
    with pytest.raises(refusals.Unauthorized):
        token.check({f"x-modal-token-{name}": value for name, value in shown.items()})


@pytest.mark.parametrize(
    ("rpc", "feature"),
    [
        ("SandboxCreate", "Sandboxes"),
        ("DictList", "this operation on a Dict"),
        ("VolumeRename", "this operation on a Volume"),
        ("FunctionGetCallGraph", "call graphs"),
        ("AppCountLogs", "fetching logs by time"),
        ("X", "this part"),
    ],
)
def test_what_is_missing_is_named_with_the_way_out(rpc: str, feature: str) -> None:
    assert feature in unsupported(rpc)
    assert "--backend cloud" in unsupported(rpc)


@pytest.mark.parametrize(
    ("code", "memory", "ready", "text"),
    [
        (3, False, True, "Runner failed with exit code: 3"),
        (-9, False, True, "Runner failed with exit code: -9 (SIGKILL)"),
        (-11, True, True, "Runner failed with exit code: -11 (SIGSEGV)"),
        (1, False, False, "Runner failed with exit code: 1 during startup"),
        (-99, False, True, "Runner failed with exit code: -99"),
    ],
)
def test_the_end_of_a_container_in_words(code: int, memory: bool, ready: bool, text: str) -> None:
    assert describe_end(code, out_of_memory=memory, was_ready=ready) == text


def test_being_killed_for_memory_is_said() -> None:
    text = describe_end(-9, out_of_memory=True, was_ready=True)
    assert text.startswith("Runner failed with exit code: -9 (SIGKILL)")
    assert "memory" in text


def test_a_bell_wakes_who_waits_and_is_not_heard_later() -> None:
    async def main() -> tuple[list[bool], bool]:
        broadcast = Broadcast()
        waiting = [asyncio.create_task(broadcast.wait(60)) for _ in range(3)]
        await asyncio.sleep(0)
        broadcast.notify()
        return await asyncio.gather(*waiting), await broadcast.wait(0.01)

    assert asyncio.run(main()) == ([True, True, True], False)
