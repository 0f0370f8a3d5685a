"""Functions and classes of the real SDK against the real server: every way to call them, and what comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import modal
import pytest

from tests.control_plane.plane import Plane, eventually
from tests.control_plane.subjects import add_meeting, add_ranks, make_subjects


@pytest.fixture(scope="module")
def subjects(client: Any) -> Iterator[SimpleNamespace]:
    """The app, held open as a notebook holds it."""
    made = make_subjects()
    made.ranks, made.meet = add_ranks(made.app), add_meeting(made.app)
    with made.app.run(client=client):
        yield made


@pytest.fixture(scope="module")
def box(subjects: SimpleNamespace) -> Any:
    """One instance, so one container, for the tests that do not care."""
    return subjects.Box()


def test_remote_again_and_again_in_one_container(box: Any) -> None:
    first, second = box.add.remote(), box.add.remote(by=5)
    assert second == (first[0] + 5, first[1], "box")


def test_a_spawned_call_is_read_by_its_id_and_more_than_once(box: Any, client: Any) -> None:
    call = box.add.spawn()
    count = call.get()[0]
    assert modal.FunctionCall.from_id(call.object_id, client=client).get()[0] == count


def test_a_result_that_is_not_there_yet(box: Any, tmp_path: Path) -> None:
    go = tmp_path / "go"
    call = box.run.spawn("import os, time\nwhile not os.path.exists(go): time.sleep(0.01)\nresult = 'done'", go=str(go))
    with pytest.raises(TimeoutError):
        call.get(timeout=0)
    go.touch()
    assert call.get(timeout=60) == "done"


def test_parameters_make_instances_with_containers_of_their_own(subjects: SimpleNamespace) -> None:
    ada, bob = subjects.Box(name="ada"), subjects.Box(name="bob")
    (one, pid, name), (other, other_pid, other_name) = ada.add.remote(), bob.add.remote()
    assert (one, name, other, other_name) == (1, "ada", 1, "bob")
    assert pid != other_pid
    assert subjects.Box(name="ada").add.remote()[0] == 2


def test_a_generator_streams_and_changes_the_state(box: Any) -> None:
    before = box.add.remote()[0]
    items = list(box.stream.remote_gen(50))
    assert [number for number, _ in items] == list(range(50))
    assert {call[:3] for _, call in items} == {"fc-"}
    assert box.add.remote()[0] == before + 51


@pytest.mark.parametrize("size", [10, 3 << 20])
def test_payloads_cross_without_a_detour(box: Any, size: int, plane: Plane) -> None:
    value = bytes(size)
    assert box.run.remote("result = x", x=value) == value
    assert box.run.spawn("result = x", x=value).get() == value
    assert not (plane.root / "blobs").exists()


def test_map_keeps_the_order(subjects: SimpleNamespace) -> None:
    assert [x for x, _ in subjects.many.map(range(60))] == list(range(60))


def test_spawn_map_is_read_by_index(subjects: SimpleNamespace) -> None:
    call = subjects.many.experimental_spawn_map(range(5))
    eventually(lambda: call.num_inputs() == 5)
    assert [x for x, _ in call.iter()] == list(range(5))


def test_one_container_takes_several_inputs_at_once(subjects: SimpleNamespace) -> None:
    async def main() -> Any:
        return await asyncio.gather(*(subjects.meet.remote.aio(8) for _ in range(8)))

    assert len(set(asyncio.run(main()))) == 1


def test_batches_form(subjects: SimpleNamespace) -> None:
    answers = list(subjects.squares.map(range(8)))
    assert [square for square, _ in answers] == [number * number for number in range(8)]
    assert max(size for _, size in answers) == 4


def test_a_cluster_has_ranks_and_addresses(subjects: SimpleNamespace, tmp_path: Path) -> None:
    x, rank, ips, ipv4, gpus = subjects.ranks.remote(7, str(tmp_path))
    assert (x, rank, gpus) == (7, 0, 8)
    assert len(set(ipv4)) == 2
    assert all(address.startswith("127.") for address in ipv4)
    assert ips == [f"::ffff:{address}" for address in ipv4]


def test_one_failure_ends_all_nodes(subjects: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match="rank 1 has failed"):
        subjects.ranks.remote(7, fail=True)
    eventually(lambda: subjects.ranks.get_current_stats().num_total_runners == 0)


def test_a_cluster_of_parts_of_nodes_is_refused(subjects: SimpleNamespace) -> None:
    with pytest.raises(modal.exception.InvalidError, match="whole nodes on Modal: H100:8, not H100:4"):
        subjects.ranks.with_options(gpu="H100:4").remote(7)


def test_the_sdk_retries_what_it_waits_for(subjects: SimpleNamespace, tmp_path: Path) -> None:
    assert subjects.flaky.remote(str(tmp_path / "waited"), 2) == 2


def test_the_server_retries_what_was_spawned(subjects: SimpleNamespace, tmp_path: Path) -> None:
    assert subjects.flaky.spawn(str(tmp_path / "spawned"), 1).get() == 1
    with pytest.raises(RuntimeError, match="attempt 2"):
        subjects.flaky.spawn(str(tmp_path / "hopeless"), 9).get()


def test_a_map_retries_each_input_by_itself(subjects: SimpleNamespace, tmp_path: Path) -> None:
    inputs = [(str(tmp_path / f"map-{succeed_at}"), succeed_at) for succeed_at in (0, 1, 2, 9)]
    *good, hopeless = subjects.flaky.starmap(inputs, return_exceptions=True)
    assert good == [0, 1, 2]
    assert (type(hopeless), str(hopeless)) == (RuntimeError, "attempt 2")


def test_a_crash_and_a_timeout_are_retried(subjects: SimpleNamespace, tmp_path: Path) -> None:
    impatient = subjects.flaky.with_options(timeout=10)
    slow = impatient.spawn(str(tmp_path / "slow"), 1, "sleep")
    assert impatient.remote(str(tmp_path / "crashed"), 1, "exit") == 1
    assert slow.get() == 1


def test_a_map_without_order_and_one_without_results(subjects: SimpleNamespace) -> None:
    assert sorted(x for x, _ in subjects.many.map(range(20), order_outputs=False)) == list(range(20))
    subjects.many.for_each(range(3))


def test_batching_and_concurrency_are_options_too(subjects: SimpleNamespace) -> None:
    pairs = list(subjects.squares.with_batching(max_batch_size=2, wait_ms=60_000).map(range(4)))
    assert [square for square, _ in pairs] == [0, 1, 4, 9]
    assert max(size for _, size in pairs) == 2
    single = subjects.many.with_concurrency(max_inputs=1).with_options(max_containers=1)
    started = time.monotonic()
    assert len({pid for _, pid in single.map(range(4))}) == 1
    assert time.monotonic() - started > 3.5, "four sleeps of a second, one after the other"


def test_a_function_calls_another(subjects: SimpleNamespace) -> None:
    assert subjects.outer.remote(3) == 30


def test_options_make_a_pool_of_their_own(subjects: SimpleNamespace, box: Any) -> None:
    read = "import os; result = os.environ.get('WORD')"
    with_secret = subjects.Box.with_options(secrets=[modal.Secret.from_dict({"WORD": "open"})])
    assert with_secret().run.remote(read) == "open"
    assert box.run.remote(read) is None
    assert with_secret().add.remote()[1] == with_secret().add.remote()[1] != box.add.remote()[1]


def test_the_autoscaler_answers_with_what_it_has_now(subjects: SimpleNamespace) -> None:
    scaler = subjects.many.autoscaler
    assert (scaler.settings().max_containers, scaler.settings().scaledown_window) == (None, 60)
    updated = scaler.update(scaledown_window=300, max_containers=2)
    assert (updated.scaledown_window, updated.max_containers, updated.min_containers) == (300, 2, 0)
    assert scaler.update(max_containers=None).max_containers is None
    assert scaler.settings().scaledown_window == 300


def test_containers_come_without_a_call_and_go_again(subjects: SimpleNamespace) -> None:
    squares = subjects.squares
    squares.autoscaler.update(min_containers=3)
    eventually(lambda: squares.get_current_stats().num_total_runners == 3)
    squares.autoscaler.update(min_containers=0, scaledown_window=2)
    eventually(lambda: squares.get_current_stats().num_total_runners == 0)


def test_a_shorter_window_reaches_a_class(subjects: SimpleNamespace, plane: Plane) -> None:
    """`update_autoscaler` of an instance is how keep-warm changes while a session lives."""
    brief = subjects.Box(name="brief")
    _, pid, _ = brief.add.remote()
    assert pid in plane.owned()
    with pytest.warns(modal.exception.DeprecationError):
        brief.update_autoscaler(scaledown_window=2)
    eventually(lambda: pid not in plane.owned())
    assert brief.add.remote()[0] == 1, "a new one has no memory"


def test_stats_count_what_runs_and_what_waits(subjects: SimpleNamespace, tmp_path: Path) -> None:
    flaky = subjects.flaky.with_options(max_containers=1)
    calls = [flaky.spawn(str(tmp_path / "counter"), 0, "wait") for _ in range(3)]
    eventually(lambda: flaky.get_current_stats().num_running_inputs == 1)
    assert flaky.get_current_stats().backlog >= 1
    (tmp_path / "counter.go").touch()
    for call in calls:
        call.get()
    eventually(lambda: flaky.get_current_stats().num_running_inputs == 0)
    assert flaky.get_current_stats().backlog == 0
