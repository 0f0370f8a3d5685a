"""Figures of detached sessions: a warm cell, the log of 100,000 lines, and attaching behind them."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tests.benchmarks.cloud import LINK
from tests.benchmarks.table import Row, ratio, seconds
from tests.cloud.cloud import cloud
from tests.e2e.detached_user import User, wait_for
from tests.e2e.kernel import Kernel

LINES = 100_000
PRINTS = f"for number in range({LINES}):\n    print('line', number)"

_ALTERNATELY = """
import json, statistics, time
ip = get_ipython()
def took(header, body):
    began = time.perf_counter(); ip.run_cell(f"%%modal_gpu {header} --quiet\\n{body}", store_history=False)
    return time.perf_counter() - began
def medians(body, n):
    times = {"--session detached": [], "--session attached": []}
    for _ in range(n):
        for header, kept in times.items():
            kept.append(took(header, body))
    return [statistics.median(kept[1:]) for kept in times.values()]
"""


def warm_and_logged() -> Iterator[Row]:
    """Cells of a detached session beside those of an attached one, in turn."""
    with User() as user:
        kernel = user.kernel()
        for session, option in (("detached", "--detach"), ("attached", "")):
            assert kernel.remote("pass", f"H100 --session {session} {option}").ok
        kernel.run(_ALTERNATELY)
        warm = json.loads(kernel.run("print(json.dumps(medians('pass', 60)))", timeout=300).stdout)
        shown = f"print('\\n' + json.dumps(medians({PRINTS!r}, 6)))"
        logged = json.loads(kernel.run(shown, timeout=300).stdout.splitlines()[-1])
    yield ratio("warm cell of a detached session", warm[0], ("of an attached one", warm[1]), 1.1, 1.0)
    yield ratio(f"{LINES:,} lines of a detached session", logged[0], ("of an attached one", logged[1]), 1.3, 1.1)


def warm_far() -> Iterator[Row]:
    """The same in a cloud 80 ms away: each request that the cell waits for would take as long again."""
    with cloud(LINK) as far, Kernel(env=far.environ) as kernel:
        kernel.load()
        for session, option in (("detached", "--detach"), ("attached", "")):
            assert kernel.remote("pass", f"H100 --session {session} {option}", timeout=100).ok
        kernel.run(_ALTERNATELY)
        warm = json.loads(kernel.run("print(json.dumps(medians('pass', 30)))", timeout=300).stdout)
    yield ratio("cloud: warm cell of a detached session", warm[0], ("of an attached one", warm[1]), 1.1, 1.0)


def attaching() -> Iterator[Row]:
    """From `attach` until the last of the lines behind the run is shown, in a kernel that is connected."""
    with User() as user:
        lone, kernel = user.kernel(), user.kernel()
        lone.send(f"%%modal_gpu H100 --session long --detach\n{PRINTS}\nprint('all')\nimport time\ntime.sleep(600)")
        wait_for(lone, "all\n")
        user.kill(lone)
        kernel.run("%modal_gpu attach")
        attached = kernel.run("%modal_gpu attach long", press=["all\n"], timeout=60)
        took = next(each.at for each in attached.messages if "all\n" in each.text)
    yield seconds(f"attach behind {LINES:,} lines, until live", took, 3.0, 1.0)


MEASURES = (warm_and_logged, warm_far, attaching)
