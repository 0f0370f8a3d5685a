"""The status says what happens: it waits, starts, installs, restores, starts ranks, runs, saves; `running` is user code."""

from __future__ import annotations

import http.server
import io
import re
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Final

import pytest

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


def test_packages_are_installed_in_a_warm_container(plain: Kernel) -> None:
    """From an index that answers late: a status is shown after a second, and pip may need less."""
    with slow_index("mgm-tiny", seconds=3) as url:
        plain.remote(f"import os\nos.environ['PIP_INDEX_URL'] = {url!r}", "H100 --session slow")
        source = "import mgm_tiny, time\ntime.sleep(1.5)"
        words = shown(plain.remote(source, "H100 --session slow --pip mgm-tiny==1.0", timeout=100))
    order(words, r"installing mgm-tiny==1\.0", "running on H100")


@contextmanager
def slow_index(name: str, seconds: float) -> Iterator[str]:
    """Serve a package index that has version 1.0 of one empty package and answers late; its address."""
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
                time.sleep(seconds)
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


def test_values_are_restored_and_saved(plain: Kernel) -> None:
    plain.run(
        "import time\n"
        "class Slow:\n"
        "    def __reduce__(self):\n"
        "        return wait, (2.5,)\n"
        "def wait(seconds):\n"
        "    time.sleep(seconds)\n"
        "    return 'slow'\n"
        "held = Slow()"
    )
    words = shown(plain.remote("held, time\ntime.sleep(1.5)", "H100", timeout=100))
    order(words, "restoring values", "running on H100")
    source = (
        "import time\n"
        "class Stays:\n"
        "    def __reduce__(self):\n"
        "        time.sleep(2.5)\n"
        "        return str, ()\n"
        "out = Stays()"
    )
    order(shown(plain.remote(source, "H100", timeout=100)), "saving values on H100")


def test_ranks_start_before_they_run(plain: Kernel) -> None:
    result = plain.remote("import time\nprint('runs')\ntime.sleep(2)", "H100:8 --session r --torchrun 2", timeout=200)
    order(shown(result), "starting 2 ranks", "running on H100:8")
    places = {CLOCK.sub("", message.text.strip()): place for place, message in reversed(list(enumerate(result.all)))}
    assert places["starting 2 ranks"] < places["runs"]
    assert places["starting 2 ranks"] < places["running on H100:8"]


def test_a_cell_waits_for_a_gpu(tmp_path: Path) -> None:
    """On a machine whose nvidia-smi lists one GPU, which a service holds for seconds."""
    driver = tmp_path / "nvidia-smi"
    driver.write_text(DRIVER)
    driver.chmod(0o755)
    with Kernel() as kernel:
        kernel.run(f"import os\nos.environ['PATH'] = {str(tmp_path)!r} + ':' + os.environ['PATH']")
        kernel.load()
        kernel.run("%config ModalGpu.dashboard = False")
        hold(kernel, 6)
        result = kernel.remote("import time\ntime.sleep(2)", "H100 --session own", timeout=100)
        order(shown(result), "waiting for H100 since", "running on H100")
        assert "waiting for H100 since 0:0" in result.said


def test_the_status_command_has_the_phase_and_the_cost(plain: Kernel) -> None:
    plain.remote("import time\ntime.sleep(1)", "H100 --session s")
    listed = plain.run("%modal_gpu status").stdout
    words = r"s: H100 · local · idle until \d\d:\d\d [A-Z]+ · free \(≈ \$3\.95/h on Modal, <?\$0\.0\d so far\) · only on the GPU: none"
    assert re.search(f"^{words}$", listed, re.MULTILINE), listed
