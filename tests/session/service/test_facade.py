"""A service from plain Python, against the real control plane: every way to call it, and every way it ends."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modal_gpu_magic import Service, batched
from modal_gpu_magic.errors import CellTimeout, ContainerLost, ServiceError, TransferError
from modal_gpu_magic.session.run.front import SilentFront
from tests.session.serving import eventually, traceback_of

CELL = """
import asyncio, os, time
print("loading")
!echo from a shell
%env SERVED yes
starts = globals().get("starts", 0) + 1

class Own(Exception): ...

def scale(x, by=factor):
    "Scales."
    if x == "bad":
        raise Wrong("no number")
    if x == "own":
        raise Own("of the cell")
    return x * by

def where():
    return os.getpid(), starts, os.environ["SERVED"]

def is_point(p):
    return isinstance(p, Point), Point(p.x + 1)

def wait(path):
    open(path, "w").close()
    try:
        time.sleep(300)
    finally:
        os.remove(path)

def die():
    os.kill(os.getpid(), 9)

def unpicklable():
    import threading
    return threading.Lock()

async def later(x):
    await asyncio.sleep(0.01)
    return x

def count(n, path=None):
    try:
        for i in range(n):
            yield i
            if path:
                open(path + ".begun", "w").close()
                time.sleep(300)
        if n == 300:
            raise Wrong("after all")
    except GeneratorExit:
        raise
    finally:
        if path:
            open(path, "w").close()

async def acount(n):
    for i in range(n):
        yield i

def _hidden(): ...
"""

NOTEBOOK = """
factor = 10
class Wrong(Exception): ...
class Point:
    def __init__(self, x): self.x = x
"""


@pytest.fixture(scope="module")
def front() -> SilentFront:
    """What the start showed."""
    return SilentFront()


@pytest.fixture(scope="module")
def service(front: SilentFront) -> Iterator[Service]:
    """One service for all, of one container; the notebook's classes are `__main__`'s."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(NOTEBOOK, namespace)
    with Service(CELL, "L40S", "tests", max_containers=1, namespace=namespace).start(front) as started:
        yield started


def test_the_top_level_is_shown_and_runs_once(service: Service, front: SilentFront) -> None:
    assert front.text.splitlines() == ["loading", "from a shell", "env: SERVED=yes"]
    pid, starts, served = service.where()
    assert (starts, served) == (1, "yes")
    assert service.where()[0] == pid != os.getpid()
    (line,) = front.notes
    for part in ("tests · L40S", "scale(x, by=factor)", "idle for 5m", "$1.9", "prices of"):
        assert part in line
    assert "_hidden" not in line


def test_calls(service: Service) -> None:
    assert (service.scale(2), service.scale(2, 3), service.scale(x=2, by=4)) == (20, 6, 8)
    assert service.scale.spawn(5).get() == 50
    assert service.later(7) == 7
    assert (service.scale.__doc__, service.scale.__name__) == ("Scales.", "scale")


def test_arguments_are_checked_here(service: Service) -> None:
    with pytest.raises(TypeError, match=r"scale\(\) missing a required argument: 'x'"):
        service.scale()
    with pytest.raises(TransferError, match=r"what tests.scale is called with.*a lock"):
        service.scale(threading.Lock())


def test_a_map_is_lazy_and_in_order(service: Service) -> None:
    asked: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(20):
            asked.append(number)
            yield number

    results = service.scale.map(numbers())
    assert asked == []
    assert list(results) == [i * 10 for i in range(20)]
    assert list(service.scale.map([1, 2, 3], [4, 5])) == [4, 10]


def test_a_map_that_is_left_asks_for_no_more(service: Service) -> None:
    asked: list[int] = []

    def numbers() -> Iterator[int]:
        for number in itertools.count():
            asked.append(number)
            yield number

    for result in service.scale.map(numbers()):
        if result == 30:
            break
    before = -1
    while before != (before := len(asked)):
        time.sleep(0.3)
    with pytest.raises(service.namespace["Wrong"]):
        list(service.scale.map(itertools.chain([1], ["bad"])))
    assert service.scale(1) == 10


def test_a_map_is_watched(service: Service) -> None:
    told: list[Any] = []

    def watch(results: Iterator[Any], total: int | None, title: str) -> Iterator[Any]:
        told.append((total, title))
        return results

    service.watch = watch
    try:
        assert list(service.scale.map([1, 2])) == [10, 20]
        assert list(service.scale.map(iter([1]))) == [10]
    finally:
        service.watch = lambda results, _total, _title: results
    assert told == [(2, "tests.scale"), (None, "tests.scale")]


def test_from_a_coroutine(service: Service) -> None:
    async def main() -> list[Any]:
        found = await asyncio.gather(*(service.later.aio(i) for i in range(8)))
        return [*found, [x async for x in service.acount.aio(3)], [x async for x in service.count.aio(2)]]

    assert asyncio.run(main()) == [*range(8), [0, 1, 2], [0, 1]]


def test_the_functions_own_error(service: Service) -> None:
    with pytest.raises(service.namespace["Wrong"], match="no number") as caught:
        service.scale("bad")
    shown = traceback_of(caught.value)
    assert 'raise Wrong("no number")' in shown
    assert "line 12" in shown, "IPython drops the blank first line"
    assert "modal_gpu_magic" not in shown
    assert type(service.scale.map(["own"], return_exceptions=True).__next__()).__name__ == "Own"
    with pytest.raises(service.namespace["Wrong"]):
        list(service.scale.map([1, "bad"]))


def test_errors_among_results(service: Service) -> None:
    one, two, three = service.scale.map([1, "bad", 3], return_exceptions=True)
    assert (one, type(two), three) == (10, service.namespace["Wrong"], 30)


def test_a_class_of_the_notebook_is_the_same_there_and_back(service: Service) -> None:
    point = service.namespace["Point"]
    there, back = service.is_point(point(1))
    assert there is True
    assert type(back) is point
    assert back.x == 2


def test_a_result_that_cannot_travel(service: Service) -> None:
    with pytest.raises(TransferError, match=r"the result of unpicklable.*locks"):
        service.unpicklable()


def test_a_generator_streams_and_its_error_comes_last(service: Service) -> None:
    assert list(service.count(5)) == [0, 1, 2, 3, 4]
    seen: list[int] = []
    with pytest.raises(service.namespace["Wrong"], match="after all"):
        seen.extend(service.count(300))
    assert seen == list(range(300)), "every item that was yielded before"
    with pytest.raises(ServiceError, match="is a generator, which has no map"):
        service.count.map([1])


def test_a_generator_that_is_left_is_cancelled(service: Service, tmp_path: Path) -> None:
    items = service.count(2, str(tmp_path / "ended"))
    assert next(items) == 0
    # Between two items, the exception would be raised in the SDK's own code, which may lose it.
    eventually((tmp_path / "ended.begun").exists)
    items.close()
    eventually((tmp_path / "ended").exists)
    assert service.scale(1) == 10


def test_a_call_that_is_cancelled_ends_there(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "running"
    call = service.wait.spawn(str(path))
    eventually(path.exists)
    with pytest.raises(TimeoutError):
        call.get(timeout=0)
    call.cancel()
    with pytest.raises(ServiceError, match=r"^the call of tests.wait was cancelled.$"):
        call.get()
    eventually(lambda: not path.exists())
    assert service.scale(1) == 10, "the container goes on"


def test_a_spawned_call_counts_to_its_end(service: Service, tmp_path: Path) -> None:
    service.scale(1)
    path = tmp_path / "running"
    call = service.wait.spawn(str(path))
    eventually(path.exists)
    assert service.usage.is_in_use, "whether or not anyone waits for the result"
    call.cancel()
    eventually(lambda: not service.usage.is_in_use)


def test_a_task_that_is_cancelled_cancels_the_call(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "running"

    async def main() -> None:
        task = asyncio.create_task(service.wait.aio(str(path)))
        while not path.exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert traceback_of(caught.value) == "CancelledError: ", "no frame of this package, nor of the SDK"

    asyncio.run(main())
    eventually(lambda: not path.exists())


def test_a_call_that_is_cancelled_while_it_is_sent(service: Service, tmp_path: Path) -> None:
    async def main() -> None:
        task = asyncio.create_task(service.wait.aio(str(tmp_path / "running")))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert service.scale.spawn(1).get(timeout=60) == 10, "nothing is in its way"


def test_a_press_cancels_the_call(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "running"

    def press() -> None:
        eventually(path.exists)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    with pytest.raises(KeyboardInterrupt):
        service.wait(str(path))
    presser.join()
    eventually(lambda: not path.exists())
    assert service.scale(1) == 10


def test_what_it_says_of_itself(service: Service) -> None:
    text = repr(service)
    for part in ("tests · L40S · local", "containers 1", "queue 0", "free (", " on Modal) so far ($1.9"):
        assert part in text
    assert repr(service.scale) == "<tests.scale(x, by=factor)>"
    assert "scale" in dir(service)
    with pytest.raises(AttributeError, match="tests has no method predict: it has scale"):
        _ = service.predict
    with pytest.raises(TypeError, match="cannot be sent"):
        json.dumps(service.__reduce__())


def test_a_container_that_dies(service: Service) -> None:
    pid = service.where()[0]
    with pytest.raises(
        ContainerLost, match=r"tests was lost in the call: killed \(SIGKILL\).*next call starts another"
    ):
        service.die()
    assert service.where()[0] != pid
    assert service.where()[1] == 1, "the top level has run again"


@batched(32, wait_ms=5_000)
def sizes(xs: list[int], ys: list[int]) -> list[tuple[int, int]]:
    """Of each call its sum, and how many came with it."""
    return [(x + y, len(xs)) for x, y in zip(xs, ys, strict=True)]


@batched(32, wait_ms=10)
def one_too_many(xs: list[int]) -> list[int]:
    """A function that does not keep to the rule of batched ones."""
    return [*xs, 0]


def test_sixty_four_calls_are_a_few_batches() -> None:
    """A batched function, as a list of functions. Each further batch is five seconds in which too few calls came."""
    with Service([sizes], name="batching", max_containers=1) as batching:

        async def main() -> Any:
            return await asyncio.gather(*(batching.sizes.aio(i, ys=1) for i in range(64)))

        for answers in (list(batching.sizes.map(range(64), [1] * 64)), asyncio.run(main())):
            assert [total for total, _ in answers] == [i + 1 for i in range(64)]
            batches = sum(1 / size for _, size in answers)
            assert 2 <= round(batches, 6) <= 16


def test_a_batched_function_that_returns_too_much() -> None:
    words = "one_too_many was called with lists of 1 and returned a list of 2"
    with Service([one_too_many], name="batching") as batching, pytest.raises(ServiceError, match=words):
        batching.one_too_many(1)


def test_arrays_cross() -> None:
    namespace = {"__name__": "__main__", "offset": np.ones(300_000)}
    with Service("def sum(a): return a + offset\n", name="arrays", namespace=namespace) as service:
        assert np.array_equal(service.sum(np.ones(300_000)), np.full(300_000, 2.0))


def test_the_timeout_is_held() -> None:
    source, words = (
        "import time\ndef slow(): time.sleep(300)\n",
        "arrays exceeded its timeout of 2s; allow more with --",
    )
    with Service(source, name="arrays", timeout=2) as service, pytest.raises(CellTimeout, match=words):
        service.slow()
