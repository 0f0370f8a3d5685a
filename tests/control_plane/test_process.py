"""The control plane as a process: its hello, who may come in, and that nothing of it outlives its owner or itself."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import modal
import psutil
import pytest

from tests.control_plane.plane import COMMAND, SOURCES, Plane, eventually, run_command
from tests.control_plane.subjects import make_subjects


@pytest.fixture
def own(places: dict[str, str]) -> Iterator[Plane]:
    """A control plane of a test's own, which it may end in its own way."""
    plane = Plane(places)
    yield plane
    plane.leave()


@pytest.fixture
def owner(places: dict[str, str]) -> Iterator[dict[str, Any]]:
    """A kernel with a busy container: what `owner.py` says, and its own process id."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.control_plane.owner"],
        stdout=subprocess.PIPE,
        env={**os.environ, **places, "PYTHONPATH": str(SOURCES)},
        start_new_session=True,
    )
    assert process.stdout is not None
    hello = json.loads(process.stdout.readline())
    yield {**hello, "owner": process, "root": Path(hello["url"].removeprefix("unix://")).parent}
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()


def alive(pids: list[int]) -> list[int]:
    """Those that have not ended; a zombie has."""
    found = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
    return found


def test_the_hello_is_one_line_with_everything_a_client_needs(own: Plane) -> None:
    assert set(own.hello) == {"url", "token_id", "token_secret", "store", "pid"}
    assert own.hello["pid"] == own.process.pid
    own.client().hello()
    assert own.store.is_dir()


def test_only_this_user_can_reach_it(own: Plane) -> None:
    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    made = make_subjects()
    with made.app.run(client=own.client()):
        made.Box().add.remote()
        sockets = [path for path in own.root.rglob("*") if path.is_socket()]
        assert len(sockets) == 2, "the client's and one for the container"
        assert {mode(path) for path in sockets} == {0o600}
        assert {mode(path) for path in (own.root, own.store, *(each.parent for each in sockets))} == {0o700}


@pytest.mark.parametrize("token", [("ak-0", None), (None, "as-0"), (None, "")])
def test_a_wrong_token_is_refused(plane: Plane, token: tuple[str | None, str | None]) -> None:
    client = plane.client(*token) if token[1] != "" else modal.Client(plane.hello["url"], 1, None)
    with client, pytest.raises(modal.exception.AuthError, match="not valid for this local control plane"):
        client.hello()


def test_noise_on_the_socket_disturbs_nobody(plane: Plane, client: Any) -> None:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(plane.hello["url"].removeprefix("unix://"))
        raw.sendall(b"GET / HTTP/1.1\r\n\r\n" * 100)
    client.hello()


def test_it_leaves_with_its_owner(own: Plane) -> None:
    made = make_subjects()
    with made.app.run(client=own.client(), detach=True):
        box = made.Box()
        box.add.remote()
        box.run.spawn("while True: x = 3 ** 10_000_000")
    pids = own.owned()
    own.leave()
    assert alive(pids) == []
    assert not own.root.exists()
    assert not own.store.parent.exists()


def test_a_killed_owner_is_noticed_although_a_child_of_it_holds_the_pipe(owner: dict[str, Any]) -> None:
    owner["owner"].send_signal(signal.SIGKILL)
    owner["owner"].wait()
    eventually(lambda: not alive([*owner["pids"], owner["pid"]]))
    assert not owner["root"].exists()
    assert not Path(owner["store"]).parent.exists()


def test_containers_do_not_outlive_a_killed_server_and_the_next_one_cleans_up(
    owner: dict[str, Any], places: dict[str, str]
) -> None:
    os.kill(owner["pid"], signal.SIGKILL)
    eventually(lambda: not alive(owner["pids"]))
    following = Plane(places)  # as any server of the user's, another test's too
    try:
        eventually(lambda: not owner["root"].exists() and not Path(owner["store"]).parent.exists())
    finally:
        following.leave()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(own: Plane, number: int) -> None:
    own.process.send_signal(number)
    assert own.process.wait(60) == 0
    assert not own.root.exists()


def test_container_seconds_are_accounted_for(places: dict[str, str], tmp_path: Path) -> None:
    account, began = tmp_path / "meter.json", time.monotonic()
    plane = Plane({**places, "MODAL_GPU_METER": str(account)})
    made = make_subjects()
    with made.app.run(client=plane.client()):
        made.Box.with_options(gpu="L4:2")().add.remote()
    plane.leave()
    (row,) = json.loads(account.read_text())
    assert (row["function"], row["gpu"], row["node"]) == ("Box.*", "L4:2", 0)
    assert 0 < row["seconds"] < time.monotonic() - began
    assert row["ended_at"] - row["started_at"] == pytest.approx(row["seconds"], abs=1e-3)


def test_the_account_names_a_container_from_its_start(places: dict[str, str], tmp_path: Path) -> None:
    account = tmp_path / "meter.json"
    plane = Plane({**places, "MODAL_GPU_METER": str(account)})
    made = make_subjects()
    with made.app.run(client=plane.client()):
        made.Box().add.remote()
        (row,) = json.loads(account.read_text())
        assert (row["ended_at"], row["seconds"], row["exit_code"]) == (None, None, None)
    eventually(lambda: json.loads(account.read_text())[0]["seconds"])
    (row,) = json.loads(account.read_text())
    assert row["exit_code"] == 0
    plane.leave()


DRIVER = """#!/bin/sh
[ "$*" = -L ] && printf 'GPU 0: NVIDIA A (UUID: GPU-a)\\nGPU 1: NVIDIA B (UUID: GPU-b)\\n'
[ "$*" = -L ] || echo "real $*"
"""


def test_real_gpus_are_allotted_by_count(places: dict[str, str], tmp_path: Path) -> None:
    """On a machine whose nvidia-smi lists two GPUs."""
    driver = tmp_path / "nvidia-smi"
    driver.write_text(DRIVER)
    driver.chmod(0o755)
    plane = Plane({**places, "PATH": f"{tmp_path}:{os.environ['PATH']}"})
    made, seen = (
        make_subjects(),
        "import os; result = os.environ['CUDA_VISIBLE_DEVICES'], 'MODAL_GPU_SIMULATED' in os.environ",
    )
    smi = "import subprocess; result = subprocess.getoutput('nvidia-smi --query-gpu=name; nvidia-smi topo -m')"
    with made.app.run(client=plane.client()):
        one, two = (made.Box.with_options(gpu="H100")(name=name) for name in ("one", "two"))
        assert (one.run.remote(seen), two.run.remote(seen)) == (("0", False), ("1", False))
        assert two.run.remote(smi) == "real -i 1 --query-gpu=name\nreal topo -m"
        both = made.Box.with_options(gpu="H100:2")()
        assert both.run.remote(seen) == ("0,1", False), "idle containers make room"
        with pytest.raises(modal.exception.InvalidError, match=r"needs 4 GPUs and this machine has 2.*SIMULATE=1"):
            made.Box.with_options(gpu="H100:4")().add.remote()
    plane.leave()


SCRIPT = """
import sys

import modal

app = modal.App("script")
image = modal.Image.debian_slim()


@app.function(gpu="L4", image=image)
def square(x):
    import subprocess
    return x * x, subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout[:16]


@app.cls()
class Greeter:
    word: str = modal.parameter(default="hello")

    @modal.method()
    def greet(self, name):
        return f"{self.word} {name}"


@app.local_entrypoint()
def main(name: str = "world"):
    print(Greeter(word="bye").greet.remote(name))


if __name__ == "__main__":
    with app.run():
        print(square.remote(4), list(Greeter().greet.map(["a", "b"])))
    sys.exit(int(sys.argv[1]))
"""


def test_a_plain_script_runs_and_its_exit_code_is_ours(places: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = run_command(places, "python", "script.py", "7", cwd=tmp_path)
    assert done.stdout == "(16, 'GPU 0: NVIDIA L4') ['hello a', 'hello b']\n"
    assert done.returncode == 7


def test_modal_run_works(places: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = run_command(places, "modal", "run", "script.py", "--name", "moon", cwd=tmp_path)
    assert "bye moon" in done.stdout
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("command", "code"),
    [(["sh", "-c", "kill -TERM $$"], 143), (["mgm-no-such-command"], 127), (["sh", "-c", "exit 3"], 3)],
)
def test_exit_codes_of_commands(places: dict[str, str], tmp_path: Path, command: list[str], code: int) -> None:
    assert run_command(places, *command, cwd=tmp_path).returncode == code


def test_control_c_reaches_the_command_and_everything_ends(places: dict[str, str], tmp_path: Path) -> None:
    source = "import time\ntry:\n    print('up', flush=True)\n    time.sleep(300)\nexcept KeyboardInterrupt:\n    raise SystemExit(9)"
    env = {**os.environ, **places, "PYTHONPATH": str(SOURCES)}
    process = subprocess.Popen(
        [*COMMAND, "--", sys.executable, "-c", source],
        env=env,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 9
    process.stdout.close()


def test_a_wrong_command_line_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--nonsense"], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(SOURCES)}
    )
    assert done.returncode == 2
    assert "--nonsense" in done.stderr
