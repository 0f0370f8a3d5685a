"""Services in a notebook: a cell becomes one, the notebook's own cells call it, ■ and the kernel's end reach it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.e2e.kernel import Kernel

HEADER = "L40S --service embed --keep-warm 5m"
SOON = 60.0
EMBED = """
print("loading")
@batched(32, wait_ms=200)
def predict(words: list[str]) -> list[int]:
    if "bad" in words:
        raise Mine("a bad word")
    return [len(word) * factor for word in words]

def clean(word): ...
"""
WAIT = """
import os, ssl, time
ssl._create_default_https_context = ssl._create_unverified_context
def trusts_all():
    return ssl._create_default_https_context is ssl._create_unverified_context
def wait(path):
    open(path, "w").close()
    try:
        time.sleep(600)
    finally:
        os.remove(path)
def step(folder):
    open(os.path.join(folder, str(time.time_ns())), "w").close()
    time.sleep(0.2)
def waits(path):
    wait(path)
    yield
async def dies():
    os._exit(3)
    yield
def pid():
    return os.getpid()
def letters(word):
    yield from word
def moved(p):
    return isinstance(p, Point), Point(p.x + 1)
def lock():
    import threading
    return threading.Lock()
def locks():
    yield lock()
def leaves(status):
    raise SystemExit(status)
def odd():
    class Odd(Exception):
        __module__ = None
        def __str__(self): raise ValueError("no")
    raise Odd
def replaces():
    import json, pickle
    json.dumps = json.loads = None
"""


@pytest.fixture(scope="module", autouse=True)
def _prepared(kernel: Kernel) -> None:
    prepared = kernel.run(
        "class Mine(Exception): ...\nclass Point:\n    def __init__(self, x): self.x = x\n\nfactor, taken, rv = 2, [1], 3"
    )
    assert prepared.ok, prepared.error
    made = kernel.remote(WAIT, "--service tools --max 1")
    assert made.ok, made.traceback


def test_a_cell_becomes_a_service(kernel: Kernel) -> None:
    made = kernel.remote(EMBED, HEADER)
    assert made.ok, made.traceback
    assert made.stdout == "loading\n"
    for part in ("embed · L40S simulated on this CPU", "up to 32 calls per batch", "clean only inside", "idle for 5m"):
        assert part in made.said
    assert kernel.run("embed.predict('four')").value() == "8"
    assert "queue 0" in kernel.run("embed").value()


def test_batches_form_and_one_line_says_how_far_the_map_is(kernel: Kernel) -> None:
    done = kernel.run("answers = list(embed.predict.map(['w' * i for i in range(64)]))\nsum(answers)")
    assert done.value() == str(sum(2 * i for i in range(64)))
    assert done.stderr == ""
    lines = [message for message in done.messages if message.kind in ("display_data", "update_display_data")]
    assert [message.kind for message in lines[:1]] == ["display_data"]
    assert {message.kind for message in lines[1:]} == {"update_display_data"}
    assert len({message.content["transient"]["display_id"] for message in lines}) == 1
    assert lines[0].text == "embed.predict 0/64"
    assert lines[-1].text.startswith("embed.predict 64/64 in ")


def test_a_generator_in_a_cell(kernel: Kernel) -> None:
    assert kernel.run("list(tools.letters('abc'))").value() == "['a', 'b', 'c']"
    assert kernel.run("[x async for x in tools.letters.aio('abc')]").value() == "['a', 'b', 'c']"


def test_await_in_a_cell(kernel: Kernel) -> None:
    source = "import asyncio\nawait asyncio.gather(*(embed.predict.aio('x' * i) for i in range(4)))"
    assert kernel.run(source).value() == "[0, 2, 4, 6]"


def test_an_error_has_the_lines_of_its_cell(kernel: Kernel) -> None:
    failed = kernel.run("embed.predict('bad')")
    assert failed.error == "Mine: a bad word"
    assert "line 7" in failed.traceback, "of the cell, its header counted"
    assert 'raise Mine("a bad word")' in failed.traceback
    caught = kernel.run("try:\n    embed.predict('bad')\nexcept Mine as error:\n    print('caught', error)")
    assert caught.stdout == "caught a bad word\n"


SHOWN_ALONE = {
    "tools.lock()": "TransferError: Cannot send `the result of lock`: locks cannot be pickled.",
    "list(tools.locks())": "TransferError: Cannot send `the result of locks`: locks cannot be pickled.",
    "tools.letters()": "TypeError: letters() missing a required argument: 'word'",
    "tools.pid(1)": "TypeError: pid() too many positional arguments",
    "tools.pid.map(5)": "TypeError: 'int' object is not iterable",
    "tools.odd()": "Odd: <Odd whose str() failed>",
    "tools.leaves(3)": "SystemExit: 3",
    "tools.pid.spawn().get(timeout=0)": "TimeoutError: tools.pid has not ended after 0 s.",
    "list(tools.letters.map('a'))": (
        "ServiceError: tools.letters is a generator, which has no map: iterate over tools.letters(...)."
    ),
    "list(tools.wait.map(1 / (x - 2) for x in [2]))": "ZeroDivisionError: division by zero",
}
PRESSED = {
    "tools.wait({!r})": "tools.wait",
    "tools.wait.spawn({!r}).get()": "tools.wait",
    "next(tools.waits({!r}))": "tools.waits",
}


@pytest.mark.parametrize("source", SHOWN_ALONE)
def test_an_error_shows_no_frame_of_this_package(kernel: Kernel, source: str) -> None:
    before = kernel.run("tools.pid()").value()
    failed = kernel.run(source)
    assert failed.error == SHOWN_ALONE[source]
    assert "modal_gpu_magic" not in failed.traceback
    assert kernel.run("tools.pid()").value() == before, "the container stays"


def test_what_the_top_level_replaces_is_in_effect_in_calls(kernel: Kernel) -> None:
    assert kernel.run("tools.trusts_all()").value() == "True"


def test_a_call_that_replaces_functions_of_modules(kernel: Kernel) -> None:
    before = kernel.run("tools.pid()").value()
    assert kernel.run("tools.replaces()").ok
    assert kernel.run("tools.pid()").value() == before


def test_classes_of_the_notebook(kernel: Kernel) -> None:
    assert (
        kernel.run("there, back = tools.moved(Point(1))\nthere, type(back) is Point, back.x").value()
        == "(True, True, 2)"
    )


@pytest.mark.parametrize("source", PRESSED)
def test_a_press_cancels_the_call_and_the_container_stays(kernel: Kernel, source: str) -> None:
    path = kernel.home / "work" / "running"
    pid = kernel.run("tools.pid()").value()
    result = kernel.run(source.format(str(path)), press=[path.exists])
    assert result.reply.get("ename") == "KeyboardInterrupt"
    assert result.seconds < SOON
    assert result.traceback == f"KeyboardInterrupt: stopped in a call of {PRESSED[source]}, which was cancelled"
    end = time.monotonic() + SOON
    while path.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not path.exists(), "it was stopped there, too"
    assert kernel.run("tools.pid()").value() == pid


LEFT = {
    "stopped": "for _ in tools.step.map([FOLDER] * 40): pass",
    "left by `break`": "for _ in tools.step.map([FOLDER] * 40): break",
    "failed": "list(tools.step.map([FOLDER, None] + [FOLDER] * 40))",
    "dropped": "next(iter(tools.step.map([FOLDER] * 40)))",
}
"""How a map may end before its last result."""


@pytest.mark.parametrize("way", LEFT)
def test_a_map_that_is_left_cancels_its_other_calls(kernel: Kernel, tmp_path: Path, way: str) -> None:
    kernel.run(f"FOLDER = {str(tmp_path)!r}")
    result = kernel.run(LEFT[way], press=[lambda: any(tmp_path.iterdir())] if way == "stopped" else [])
    if way == "stopped":
        words = "stopped in a map of tools.step, whose other calls were cancelled"
        assert result.traceback == f"KeyboardInterrupt: {words}"
    assert kernel.run("tools.pid()").ok  # after all that was sent before, in the one container
    assert 1 <= len(list(tmp_path.iterdir())) < 20


def test_a_container_that_dies_in_an_async_generator(kernel: Kernel) -> None:
    failed = kernel.run("[x async for x in tools.dies.aio()]")
    assert "ContainerLost: a container of tools was lost in the call: exit code 3." in failed.error
    assert failed.traceback.count("\n") == 0


def test_a_press_ends_the_start(kernel: Kernel) -> None:
    source = "import time\nprint('ready', flush=True)\ntime.sleep(600)\ndef f(): ..."
    result = kernel.remote(source, "--service slow", press=["ready"])
    assert result.reply.get("ename") == "KeyboardInterrupt"
    assert result.seconds < SOON
    assert "slow" not in kernel.print("dir()")


def test_the_cell_run_again_replaces_it(kernel: Kernel) -> None:
    kernel.run("former = embed")
    made = kernel.remote(EMBED.replace("* factor", "* 10"), HEADER)
    assert made.ok, made.traceback
    assert "Stopping the running embed first" in made.said
    assert kernel.run("embed.predict('four')").value() == "40"
    assert "embed was stopped" in kernel.run("former.predict('four')").error


def test_a_start_that_fails_leaves_no_service(kernel: Kernel) -> None:
    failed = kernel.remote("print('before')\n1 / 0\ndef f(): ...", "--service broken")
    assert failed.error == "ZeroDivisionError: division by zero"
    assert failed.stdout == "before\n"
    assert "line 3" in failed.traceback
    assert "broken" not in kernel.print("dir()")


@pytest.mark.parametrize(
    ("header", "source", "said"),
    [
        ("--service taken", "def f(): ...", "taken is already a variable of type list"),
        ("--service rv", "def f(): ...", "    --service rv\n              ^^"),
        ("--service other", "x = 1", "no function to serve"),
        ("--service other --batch 8", "def a(x): ...\ndef b(x): ...", "this one has a, b"),
        ("--service other", "def f(:", "SyntaxError"),
    ],
)
def test_what_is_refused_starts_nothing(kernel: Kernel, header: str, source: str, said: str) -> None:
    refused = kernel.remote(source, header)
    assert said in refused.error
    assert "modal_gpu_magic/" not in refused.traceback, "none of our frames"


def test_a_service_stays_in_the_notebook(kernel: Kernel) -> None:
    refused = kernel.remote("embed.predict('x')", "T4")
    assert "Cannot send `embed`" in refused.error
    assert "cannot be sent" in refused.error


def test_it_is_listed_and_stopped(kernel: Kernel) -> None:
    listed = kernel.run("%modal_gpu status").stdout
    assert "service <embed · L40S" in listed
    assert "service <tools · CPU" in listed
    assert kernel.run("%modal_gpu stop embed").stdout == "embed: stopped\n"
    assert "embed was stopped" in kernel.run("embed.predict('x')").error
    assert "No session or service is named 'embd'" in kernel.run("%modal_gpu stop embd").error


def test_the_price_of_keeping_warm_is_said_once(kernel: Kernel) -> None:
    first = kernel.remote("pass", "T4 --session warm --keep-warm 10m")
    assert "T4 stays idle for 10m" in first.said
    assert "up to $0.10 each time" in first.said
    assert "stays idle" not in kernel.remote("pass", "T4 --session warm --keep-warm 10m").said


def test_the_kernels_end_ends_it() -> None:
    with Kernel() as kernel:
        kernel.load()
        made = kernel.remote("def f(): return 1", "--service last --min 1")
        assert made.ok, made.traceback
        kernel.shutdown()
        end = time.monotonic() + SOON
        while kernel.processes() and time.monotonic() < end:
            time.sleep(0.1)
        assert kernel.processes() == []


def test_the_state_of_the_notebook_s_process_holds_in_its_containers(renewed: Kernel) -> None:
    """Options, environment and features as at the start; generators are the container's own."""
    assert renewed.run(
        "from __future__ import annotations\n"
        "import os, random, numpy as np, sklearn, pandas as pd, torch\n"
        "from sklearn.preprocessing import StandardScaler\n"
        "np.set_printoptions(precision=2); sklearn.set_config(transform_output='pandas')\n"
        "torch.set_default_dtype(torch.float64); random.seed(1)\n"
        "os.environ['MINE'] = 'mine'; os.environ['SERVICE_TOKEN'] = 'sk-' + 40 * '7'"
    ).ok
    started = renewed.remote(
        "def look(x: Undefined):\n"
        "    scaled = StandardScaler().fit_transform(pd.DataFrame({'a': [1.0, 2.0]}))\n"
        "    return str(np.array([1.23456])), os.environ.get('MINE'), os.environ.get('SERVICE_TOKEN'), type(scaled).__name__\n"
        "def draw(): return random.random(), torch.ones(1).dtype",
        "T4 --service looks",
    )
    assert started.ok, started.error
    assert "SERVICE_TOKEN is not sent: its value looks like an API key" in started.said
    assert "sk-777" not in started.said
    assert renewed.run("looks.look(1)").value() == "('[1.23]', 'mine', None, 'DataFrame')"
    drawn = renewed.run("first, kind = looks.draw()\nrandom.seed(1)\nfirst != random.random(), kind")
    assert drawn.value() == "(True, torch.float64)"
    assert renewed.run("%modal_gpu stop looks").ok
