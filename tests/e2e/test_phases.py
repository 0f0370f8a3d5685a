"""The status says what happens: it waits, starts, installs, restores, starts ranks, runs, saves; `running` is user code."""

from __future__ import annotations

import http.server
import io
import re
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Final

import pytest

from modal_gpu_magic.container.ranks.protocol import ADDRESS
from tests.e2e.kernel import OURS, Kernel, Result
from tests.e2e.test_billed_time import DRIVER, hold

pytestmark = pytest.mark.timeout(300)
CLOCK: Final = re.compile(r" \d+:\d\d( · .*)?$")


@pytest.fixture(scope="module")
def plain() -> Iterator[Kernel]:
    """A kernel that shows the status as one line of text."""
    with Kernel() as kernel:
        kernel.load()
        kernel.run("%config ModalGpu.dashboard = False")
        yield kernel


def shown(result: Result) -> list[str]:
    """The statuses of a cell in order, without their clocks."""
    assert result.ok, result.error
    lines = [note.text for note in result.notes if note.content["metadata"][OURS]["kind"] == "status"]
    return [words for words, _ in groupby(CLOCK.sub("", line) for line in lines)]


def order(words: list[str], *wanted: str) -> None:
    """These statuses were shown, in this order."""
    places = [next((n for n, each in enumerate(words) if re.fullmatch(one, each)), None) for one in wanted]
    assert None not in places, (words, wanted)
    assert places == sorted(places, key=lambda place: place or 0), (words, wanted)


def until(file: Path) -> str:
    """Lines that wait for a file."""
    return f"import os, time\nwhile not os.path.exists({str(file)!r}): time.sleep(0.01)"


@pytest.fixture
def flags(tmp_path: Path) -> Path:
    """A folder that cells of the test see."""
    return tmp_path


def test_packages_are_installed_in_a_warm_container(plain: Kernel, flags: Path) -> None:
    """From an index that answers once the status is shown; the cell goes on likewise."""
    installing, running = threading.Event(), flags / "running"
    with slow_index("mgm-tiny", installing) as url:
        plain.remote(f"import os\nos.environ['PIP_INDEX_URL'] = {url!r}", "H100 --session slow")
        result = plain.remote(
            f"import mgm_tiny\n{until(running)}",
            "H100 --session slow --pip mgm-tiny==1.0",
            when={"installing mgm-tiny": installing.set, "running on H100": running.touch},
        )
    order(shown(result), r"installing mgm-tiny==1\.0", "running on H100")


@contextmanager
def slow_index(name: str, answers: threading.Event) -> Iterator[str]:
    """Serve a package index that has version 1.0 of one empty package, and waits before it answers; its address."""
    module = name.replace("-", "_")
    wheel = f"{module}-1.0-py3-none-any.whl"
    info = f"{module}-1.0.dist-info"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(f"{module}.py", "")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")

    class Index(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_wheel = self.path.endswith(wheel)
            if not is_wheel:
                answers.wait(80)
            self.send_response(200)
            self.send_header("Content-Type", "application/octet-stream" if is_wheel else "text/html")
            self.end_headers()
            self.wfile.write(content.getvalue() if is_wheel else f'<a href="/{wheel}">{wheel}</a>'.encode())

        def log_message(self, *_args: object) -> None:
            """Print nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/simple"
        finally:
            server.shutdown()
            thread.join()


SLOW_VALUE = """
import os, time
class Slow:
    def __init__(self, path, only): self.path, self.only = path, only
    def __setstate__(self, state):
        self.__dict__.update(state)
        while self.only in ("", *os.environ) and not os.path.exists(self.path): time.sleep(0.01)
held = Slow({!r}, {!r})
"""
"""A value that is made once a file exists, in processes that have a variable of the environment."""


def test_values_are_restored_and_saved(plain: Kernel, flags: Path) -> None:
    restoring, running, saving = (flags / name for name in ("restoring", "running", "saving"))
    assert plain.run(SLOW_VALUE.format(str(restoring), "")).ok
    result = plain.remote(
        f"held\n{until(running)}", "H100", when={"restoring values": restoring.touch, "running on H100": running.touch}
    )
    order(shown(result), "restoring values", "running on H100")
    source = (
        "import os, time\n"
        "class Stays:\n"
        "    def __reduce__(self):\n"
        f"        while not os.path.exists({str(saving)!r}): time.sleep(0.01)\n"
        "        return str, ()\n"
        "out = Stays()"
    )
    result = plain.remote(source, "H100", when={"saving values on H100": saving.touch})
    order(shown(result), "saving values on H100")


def test_ranks_start_before_they_run(plain: Kernel, flags: Path) -> None:
    starting, running = flags / "starting", flags / "running"
    assert plain.run(SLOW_VALUE.format(str(starting), ADDRESS)).ok
    result = plain.remote(
        f"held\nprint('runs')\n{until(running)}",
        "H100:8 --session r --torchrun 2",
        when={"starting 2 ranks": starting.touch, "running on H100:8": running.touch},
        timeout=200,
    )
    order(shown(result), "starting 2 ranks", "running on H100:8")
    places = {CLOCK.sub("", message.text.strip()): place for place, message in reversed(list(enumerate(result.all)))}
    assert places["starting 2 ranks"] < places["runs"]
    assert places["starting 2 ranks"] < places["running on H100:8"]


def test_a_cell_waits_for_a_gpu(tmp_path: Path) -> None:
    """On a machine whose nvidia-smi lists one GPU, which a service holds until the status is shown."""
    driver = tmp_path / "nvidia-smi"
    driver.write_text(DRIVER)
    driver.chmod(0o755)
    with Kernel() as kernel:
        kernel.run(f"import os\nos.environ['PATH'] = {str(tmp_path)!r} + ':' + os.environ['PATH']")
        kernel.load()
        kernel.run("%config ModalGpu.dashboard = False")
        free, running = tmp_path / "free", tmp_path / "running"
        hold(kernel, free)
        result = kernel.remote(
            until(running),
            "H100 --session own",
            when={"waiting for H100": free.touch, "running on H100": running.touch},
            timeout=150,
        )
        order(shown(result), "waiting for H100 since", "running on H100")
        assert re.search(r"waiting for H100 since \d+:\d\d", result.said)


def test_the_status_command_has_the_phase_and_the_cost(plain: Kernel) -> None:
    plain.remote("import time\ntime.sleep(1)", "H100 --session s")
    listed = plain.run("%modal_gpu status").stdout
    words = r"s: H100 · local · idle until \d\d:\d\d [A-Z]+ · free \(≈ \$3\.95/h on Modal, <?\$\d\.\d\d so far\) · only on the GPU: none"
    assert re.search(f"^{words}$", listed, re.MULTILINE), listed
