"""`get` and `ls` of files whose container has ended: they come from the session's Volume, and no container starts."""

from __future__ import annotations

import json

import psutil
import pytest

from tests.e2e.detached_user import SESSION, User, detach, wait_until
from tests.e2e.kernel import Kernel
from tests.e2e.test_saved_state import LATE, SOON, Saved

pytestmark = pytest.mark.timeout(200)
WRITES = (
    "import os\nos.makedirs('out', exist_ok=True)\nopen('out/a.txt', 'w').write('1' * 3_000_000)\n"
    "open('b.txt', 'w').write('b')\nmade = 1"
)
MORE = "open('b.txt', 'w').write('newer')\nopen('c.txt', 'w').write('')"


def kill(saved: Saved) -> None:
    """End a container as a crash does; wait until Modal knows of it."""
    psutil.Process(saved.pid).kill()
    stats = f"{SESSION.format(saved.session)}.app.runner.run.get_current_stats()"
    wait_until(lambda: saved.kernel.print(f"{stats}.num_total_runners") == "0")


def test_files_of_a_container_that_has_ended_come_from_the_volume(fresh: Kernel) -> None:
    saved = Saved(fresh, SOON)
    saved.save(WRITES)
    kill(saved)
    listed = fresh.run("%modal_gpu ls session:")
    assert listed.ok, listed.traceback
    assert [line.split()[-1] for line in listed.stdout.splitlines()] == ["b.txt", "out/a.txt"]
    got = fresh.run("%modal_gpu get session:out/a.txt .")
    assert got.ok, got.traceback
    assert "has ended; its files are as its Volume has them since" in got.stdout
    assert fresh.print("open('a.txt').read() == '1' * 3_000_000") == "True"
    assert fresh.run("%modal_gpu get session:out there/").ok
    assert fresh.print("__import__('os').listdir('there/out')") == "['a.txt']"
    missing = fresh.run("%modal_gpu get session:out/x.bin .").error
    assert "there is no out/x.bin among the saved files (the container of session default has ended" in missing
    assert "these are b.txt, out/a.txt." in missing
    assert "did you mean a.txt?" in fresh.run("%modal_gpu get session:out/a.tx .").error
    after = saved.run("print(open('b.txt').read(), made)")
    assert after.stdout.endswith("b 1\n"), after.traceback + after.said


def test_a_damaged_file_is_refused_and_leaves_nothing_here(fresh: Kernel) -> None:
    saved = Saved(fresh, SOON)
    saved.save(WRITES)
    kill(saved)
    state = saved.state
    assert state is not None
    (file,) = [each for each in state.manifest.files if each.path.endswith("a.txt")]
    (saved.directory / "buffers" / file.key).write_bytes(b"2" * 3_000_000)
    refused = fresh.run("%modal_gpu get session:out/a.txt .")
    assert "out/a.txt cannot be read: its saved file is damaged." in refused.error
    assert fresh.print("__import__('os').path.exists('a.txt')") == "False"
    (saved.directory / "buffers" / file.key).unlink()
    assert "its saved file is missing" in fresh.run("%modal_gpu get session:out/a.txt .").error


def test_files_that_were_never_saved_are_lost_and_that_is_said(fresh: Kernel) -> None:
    saved = Saved(fresh, LATE)
    assert saved.run(WRITES).ok
    kill(saved)
    lost = fresh.run("%modal_gpu get session:b.txt .").error
    assert lost.startswith(
        "CopyError: the container of session default has ended, and its files are lost. Run the cell"
    )


def test_a_session_that_saves_nothing_says_so(fresh: Kernel) -> None:
    saved = Saved(fresh, "T4 --save 0")
    done = fresh.remote(f"import os\nprint(os.getpid())\n{WRITES}", saved.header)
    saved.pid = int(done.stdout)
    kill(saved)
    lost = fresh.run("%modal_gpu ls session:").error
    assert "its files are lost. The session saves nothing (--save 0)." in lost


def test_files_of_a_detached_session_come_to_a_kernel_that_attaches(user: User) -> None:
    first, second = user.kernel(), user.kernel()
    detach(first, "files", "--keep-warm 60s")
    assert first.remote(WRITES, "").ok
    assert first.remote(MORE, "--keep-warm 2s").ok
    user.kill(first)
    user.ended(1, "files")
    assert second.run("%modal_gpu attach files").ok
    got = second.run("%modal_gpu get session:b.txt session:c.txt .")
    assert got.ok, got.traceback
    assert json.loads(second.print("[open('b.txt').read(), open('c.txt').read()]").replace("'", '"')) == ["newer", ""]
    assert len(user.containers("files")) == 1
    assert second.run("%modal_gpu stop files").ok
