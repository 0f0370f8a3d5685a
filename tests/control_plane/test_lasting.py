"""The control plane that outlives kernels and commands: found, shared, ended, and nothing of it left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from modal_gpu_magic.control_plane.lasting.directory import LastingDir, NotPrivate, lasting_dir, make_own
from tests.control_plane.lasting import User, heard
from tests.control_plane.plane import COMMAND, eventually

DEPLOY = """
app = modal.App("lasting")

@app.function(serialized=True, name="wait")
def wait(path):
    import time
    from pathlib import Path
    Path(path + ".begun").touch()
    while not Path(path).exists():
        time.sleep(0.01)
    return "waited"

@app.function(serialized=True, name="double")
def double(x):
    return 2 * x

app.deploy(name="lasting", client=client)
"""
STOP = 'modal.App.lookup("lasting", client=client).stop(client=client)\n'


pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def user(places: dict[str, str], tmp_path: Path) -> Iterator[User]:
    """A user of a test's own, with a runtime directory."""
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    made = User(places, runtime)
    yield made
    made.leave()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_kernels_that_start_at_once_get_one_server(user: User) -> None:
    kernels = [user.kernel("say([backend.store, 0])") for _ in range(4)]
    assert len({tuple(heard(each)) for each in kernels}) == 1
    assert len(user.servers()) == 1


def test_looking_for_a_server_starts_none(user: User) -> None:
    look = "from modal_gpu_magic.sdk.client import connect, connect_if_running\nfound = connect_if_running('local')\n"
    assert user.run(sys.executable, "-c", f"{look}print(found)").stdout == "None\n"
    assert not list(user.runtime.iterdir())
    store = user.find()["store"]
    same = f"{look}print(found.store, connect('local', lasting=True) is found)"
    assert user.run(sys.executable, "-c", same).stdout == f"{store} True\n"
    os.kill(user.servers()[0], signal.SIGKILL)
    eventually(lambda: not user.servers())
    assert user.run(sys.executable, "-c", f"{look}print(found)").stdout == "None\n"


def test_a_later_kernel_finds_what_an_earlier_one_left(user: User) -> None:
    first = user.said("say(backend.store)")
    assert user.said("say(backend.store)") == first
    assert user.find()["store"] == first


def test_the_directory_and_its_files_are_the_users_alone(user: User) -> None:
    record = user.find()
    root = Path(record["url"].removeprefix("unix://")).parent
    assert {mode(path) for path in (user.place, user.place.parent, root, Path(record["store"]))} == {0o700}
    assert {path.name: mode(path) for path in user.place.iterdir()} == {
        "lock": 0o600,
        "log": 0o600,
        "server.json": 0o600,
    }
    assert mode(root / "api") == 0o600


def test_rights_of_others_are_taken_from_a_directory_that_is_there(user: User) -> None:
    for directory in (user.runtime / "modal-gpu-magic", lasting_dir(user.environment).path):
        directory.mkdir(mode=0o755)
        directory.chmod(0o755)
    user.find()
    assert {mode(user.place), mode(user.place.parent)} == {0o700}


def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotPrivate, match=r"is not a directory of yours: remove it, or set XDG_RUNTIME_DIR"):
        make_own(tmp_path, os.getuid() + 1)


@pytest.mark.parametrize("make", [lambda path, target: path.symlink_to(target), lambda path, _: path.touch()])
def test_a_link_or_a_file_in_its_place_is_refused_with_one_sentence(user: User, make: Any, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    target.mkdir()
    make(user.runtime / "modal-gpu-magic", target)
    done = user.run(*COMMAND, "--lasting")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "modal-gpu-magic is not a directory of yours" in line
    assert not list(target.iterdir())
    code = "from modal_gpu_magic.sdk.client import connect\nconnect('local', lasting=True)"
    last = user.run(sys.executable, "-c", code).stderr.splitlines()[-1]
    assert last == f"modal_gpu_magic.errors.SetupError: {line}"


def test_without_a_runtime_directory_of_the_user_the_temporary_directory_is_used(tmp_path: Path) -> None:
    other = tmp_path / "link"
    other.symlink_to(tmp_path)
    name = f"modal-gpu-magic-{os.getuid()}"
    for environ in (
        {},
        {"XDG_RUNTIME_DIR": ""},
        {"XDG_RUNTIME_DIR": str(tmp_path / "no")},
        {"XDG_RUNTIME_DIR": str(other)},
    ):
        assert lasting_dir(environ).path.parent.name == name
    assert lasting_dir({"XDG_RUNTIME_DIR": str(tmp_path)}).path.parent == tmp_path / "modal-gpu-magic"


def test_a_result_outlives_the_kernel_that_asked_for_it(user: User, tmp_path: Path) -> None:
    gate = str(tmp_path / "gate")
    first = user.kernel(f"{DEPLOY}\nsay(wait.spawn({gate!r}).object_id)\ntime.sleep(100)")
    call_id = heard(first)
    eventually(Path(f"{gate}.begun").exists)
    first.kill()
    first.wait()
    Path(gate).touch()
    for _ in range(2):
        assert user.said(f"say(modal.FunctionCall.from_id({call_id!r}, client=client).get(timeout=60))") == "waited"
    assert user.said('say(modal.Function.from_name("lasting", "double", client=client).remote(4))') == 8


def test_kernels_share_named_objects(user: User) -> None:
    make = """
modal.Queue.from_name("q", create_if_missing=True, client=client).put(1)
modal.Dict.from_name("d", create_if_missing=True, client=client)["k"] = 2
say(0)
"""
    read = """
say([modal.Queue.from_name("q", client=client).get(), modal.Dict.from_name("d", client=client)["k"],
     [q.name for q in modal.Queue.objects.list(client=client)], [d.name for d in modal.Dict.objects.list(client=client)]])
"""
    user.said(make)
    assert user.said(read) == [1, 2, ["q"], ["d"]]


def test_it_stays_while_an_app_is_deployed_and_ends_after_the_last_one(user: User) -> None:
    user.said(f"{DEPLOY}\nsay(double.remote(1))", linger=6.0)
    (pid,) = user.servers()
    kernel = user.kernel("say(0)\ninput()\n" + STOP + "say(1)\n", linger=6.0)
    heard(kernel)
    server = psutil.Process(pid)
    with pytest.raises(psutil.TimeoutExpired):
        server.wait(8)
    assert kernel.stdin is not None
    kernel.stdin.write("\n")
    kernel.stdin.flush()
    assert heard(kernel) == 1
    eventually(lambda: not user.servers())
    eventually(lambda: not user.left())
    assert not user.containers()


def test_it_ends_when_nobody_asks_for_anything(user: User) -> None:
    record = user.find(linger=1.0)
    eventually(lambda: not user.servers())
    eventually(lambda: not user.left())
    assert not Path(record["store"]).parent.exists()
    assert user.find()["url"] != record["url"]


def test_it_ends_once_a_cleaner_has_removed_its_files(user: User) -> None:
    """No client could connect any more: a server that stays would be found by nobody."""
    found = user.find()
    shutil.rmtree(Path(str(found["url"]).removeprefix("unix://")).parent)
    psutil.Process(found["pid"]).wait(60)
    assert user.find()["pid"] != found["pid"]


ASKS = """
longest, before, linger = 0.0, time.monotonic(), {linger}
ends = before + 2.5 * linger
try:
    while time.monotonic() < ends and backend.lost is None:
        asked = time.monotonic()
        client.hello()
        longest, before = max(longest, time.monotonic() - before), asked
        time.sleep(linger / 10)
except Exception:
    longest = max(longest, time.monotonic() - before)
say([backend.lost is None, longest])
"""
"""Asks again and again, and says the longest time in which the server may have had no request."""


def test_requests_keep_it(user: User) -> None:
    for linger in (1.5, 5.0, 20.0):
        is_there, longest = heard(user.kernel(ASKS.format(linger=linger), linger=linger))
        if is_there or longest < linger / 2:  # else the machine was too busy for a request in time
            break
        eventually(lambda: not user.servers())
    assert is_there


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_its_containers_and_files(user: User, number: int, tmp_path: Path) -> None:
    gate = str(tmp_path / "gate")
    kernel = user.kernel(
        f"lost = []\nbackend.on_loss(lambda error: (lost.append(1), say(str(error))))\n{DEPLOY}\n"
        f"wait.spawn({gate!r})\nsay(0)\ntime.sleep(100)"
    )
    heard(kernel)
    eventually(Path(f"{gate}.begun").exists)
    (pid,) = user.servers()
    os.kill(pid, number)
    assert heard(kernel).startswith("the local control plane of detached sessions ended, and its containers with it.")
    eventually(lambda: not user.servers() and not user.containers() and not user.left())


def test_a_killed_server_is_noticed_and_replaced(user: User, tmp_path: Path) -> None:
    gate = str(tmp_path / "gate")
    kernel = user.kernel(
        f"backend.on_loss(lambda error: say(str(error)))\n{DEPLOY}\nwait.spawn({gate!r})\nsay(0)\ninput()\n"
        'fresh = connect("local", lasting=True)\nsay([fresh is backend, fresh.store])\n'
    )
    heard(kernel)
    eventually(Path(f"{gate}.begun").exists)
    before = user.find()
    os.kill(before["pid"], signal.SIGKILL)
    assert "ended" in heard(kernel)
    eventually(lambda: not user.containers())
    assert user.record.exists(), "nobody was there to remove it"
    assert kernel.stdin is not None
    kernel.stdin.write("\n")
    kernel.stdin.flush()
    same, store = heard(kernel)
    assert not same
    assert store != before["store"]
    assert len(user.servers()) == 1
    eventually(lambda: not Path(before["store"]).parent.exists())
    assert not Path(before["url"].removeprefix("unix://")).exists()


@pytest.mark.parametrize("content", ["", "{}", "[]", "no json", '{"url": 5}', '{"url": "unix:///nowhere"}'])
def test_a_record_that_leads_nowhere_is_replaced(user: User, content: str) -> None:
    place = lasting_dir(user.environment)
    for directory in (place.path.parent, place.path):
        directory.mkdir(mode=0o700)
    place.record.write_text(content)
    assert user.find()["pid"] in user.servers()


def test_the_starter_may_die_before_the_server_is_ready(user: User) -> None:
    """Whoever comes next waits for that server, and starts no second one."""
    starter = subprocess.Popen(
        [*COMMAND, "--lasting"], env=user.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    eventually(user.servers)
    starter.kill()
    starter.wait()
    pid = user.find()["pid"]
    assert user.servers() == [pid]


def test_a_server_that_was_stopped_is_named(user: User) -> None:
    pid = user.find()["pid"]
    os.kill(pid, signal.SIGSTOP)
    done = user.run(
        sys.executable,
        "-c",
        "from modal_gpu_magic.sdk import client\nclient.CONNECT_SECONDS = 1\nclient.connect('local', lasting=True)",
    )
    assert f"process {pid}) does not answer" in done.stderr
    os.kill(pid, signal.SIGCONT)
    assert user.said("say(1)") == 1


def test_closing_a_backend_ends_no_lasting_server(user: User) -> None:
    assert user.said("backend.close()\nsay(backend.lost is not None)")
    (pid,) = user.servers()
    assert user.find()["pid"] == pid


def test_a_kernel_may_have_both_kinds(user: User) -> None:
    own = 'own = connect("local")\nsay([own is backend, own.lasting, backend.lasting, own.store == backend.store])'
    assert user.said(own) == [False, False, True, False]
    assert len(user.servers()) == 1


def test_the_shared_store_ends_with_the_server(user: User) -> None:
    store = Path(user.said("say(backend.store)"))
    assert store.is_dir()
    assert user.said("say(type(backend.new_store()).__name__)") == "SharedStore"
    os.kill(user.servers()[0], signal.SIGTERM)
    eventually(lambda: not store.parent.exists())


def test_container_seconds_count_while_no_client_is_connected(user: User, tmp_path: Path) -> None:
    gate = str(tmp_path / "gate")
    kernel = user.kernel(f"{DEPLOY}\nwait.spawn({gate!r})\nsay(0)\ntime.sleep(100)")
    heard(kernel)
    eventually(Path(f"{gate}.begun").exists)
    kernel.kill()
    kernel.wait()
    meter = Path(user.find()["meter"])
    (row,) = json.loads(meter.read_text())
    assert (row["app"], row["function"], row["ended_at"]) == ("lasting", "wait", None)
    Path(gate).touch()
    user.said(STOP + "say(0)")
    eventually(lambda: json.loads(meter.read_text())[0]["seconds"])
    (row,) = json.loads(meter.read_text())
    assert row["ended_at"] - row["started_at"] == pytest.approx(row["seconds"], abs=1e-3)
    assert mode(meter.parent) == 0o700


APP = """
import modal

app = modal.App("script")


@app.function()
def square(x):
    return x * x


@app.cls()
class Greeter:
    word: str = modal.parameter(default="hello")

    @modal.method()
    def greet(self, name):
        return f"{self.word} {name}"
"""
USE = """
import modal

print(modal.Function.from_name("script", "square").remote(5), list(modal.Function.from_name("script", "square").map([1, 2])))
print(modal.Cls.from_name("script", "Greeter")(word="bye").greet.remote("moon"))
"""


def test_plain_scripts_deploy_and_use(user: User, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "use.py").write_text(USE)
    deployed = user.lasting("modal", "deploy", "app.py", cwd=tmp_path)
    assert deployed.returncode == 0, deployed.stdout + deployed.stderr
    assert "App deployed" in deployed.stdout
    used = user.lasting("python", "use.py", cwd=tmp_path)
    assert used.stdout == "25 [1, 4]\nbye moon\n", used.stderr
    listed = json.loads(user.lasting("modal", "app", "list", "--json", cwd=tmp_path).stdout)
    assert [(row["description"], row["state"]) for row in listed] == [("script", "deployed")]
    (tmp_path / "app.py").write_text(APP.replace("x * x", "x + 100"))
    assert user.lasting("modal", "deploy", "app.py", cwd=tmp_path).returncode == 0
    assert user.lasting("python", "use.py", cwd=tmp_path).stdout.startswith("105 [101, 102]")
    history = user.lasting("modal", "app", "history", "script", "--json", cwd=tmp_path)
    assert [row["version"] for row in json.loads(history.stdout)] == ["v2", "v1"], history.stderr
    back = user.lasting("modal", "app", "rollback", "script", cwd=tmp_path)
    assert back.returncode == 0, back.stderr
    assert user.lasting("python", "use.py", cwd=tmp_path).stdout.startswith("25 [1, 4]")
    stopped = user.lasting("modal", "app", "stop", "--yes", "script", cwd=tmp_path)
    assert stopped.returncode == 0, stopped.stderr
    gone = user.lasting("python", "use.py", cwd=tmp_path)
    assert "No app is deployed as 'script' on the local backend" in gone.stderr


def test_a_deployment_that_ends_with_its_command_says_so(user: User, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    done = user.run(*COMMAND, "--", "modal", "deploy", "app.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "--lasting modal deploy" in " ".join((done.stdout + done.stderr).replace("│", " ").split())


@pytest.mark.parametrize(("command", "code"), [(["mgm-no-such-command"], 127), (["sh", "-c", "exit 3"], 3)])
def test_exit_codes_of_commands(user: User, tmp_path: Path, command: list[str], code: int) -> None:
    assert user.lasting(*command, cwd=tmp_path).returncode == code
    assert user.lasting("--", *command, cwd=tmp_path).returncode == code


def test_a_lock_on_what_was_removed_is_none(tmp_path: Path) -> None:
    place = LastingDir(tmp_path / "a" / "b")
    with place.locked(1) as lock:
        assert place.try_lock() is None
        place.remove()
        other = place.try_lock()
        assert other is not None
        os.close(other)
        assert lock
