"""Containers are forked: each is as a fresh process of its own, with its family, and ends with its guard."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import modal
import psutil
import pytest

from modal_gpu_magic.control_plane.containers.child import Child
from modal_gpu_magic.control_plane.containers.fork_server import (
    MOST_SERVERS,
    ContainerPipes,
    ForkServer,
    ForkServers,
    hash_seed,
)
from tests.control_plane.plane import Plane, eventually
from tests.control_plane.servicers.test_images import call_in
from tests.control_plane.subjects import make_subjects

FACTS = """
import json, os, random, site, sys, sysconfig, multiprocessing.spawn
facts = {
    "programs": [sys.executable, os.fsdecode(multiprocessing.spawn.get_executable())],
    "prefixes": [sys.prefix, sys.exec_prefix, sys.base_prefix, site.PREFIXES, site.getsitepackages()],
    "settings": [sysconfig.get_paths(), sysconfig.get_config_vars()],
    "path": [each for each in sys.path if each],
    "streams": [[each.encoding, each.errors] for each in (sys.stdin, sys.stdout, sys.stderr)],
    "input": sys.stdin.read(),
    "signals": [str(__import__("signal").getsignal(each)) for each in (2, 17)],
    "environment": dict(os.environ),
    "descriptors": sorted(os.path.basename(os.readlink(f"/proc/self/fd/{each}")).split(":")[0] for each in (0, 1, 2)),
}
"""
IN_BOTH = f"""
import json, os, subprocess, sys
FACTS = {FACTS!r}
program = FACTS + "print(json.dumps(facts))"
fresh = json.loads(subprocess.run([f"{{os.environ['VIRTUAL_ENV']}}/bin/python", "-c", program], capture_output=True, text=True, check=True).stdout)
exec(FACTS)
result = json.dumps(facts), json.dumps(fresh)
"""


@pytest.fixture
def server(places: dict[str, str]) -> Iterator[Plane]:
    """A control plane of the test's own."""
    plane = Plane(places)
    yield plane
    plane.leave()


def fork_server_of(plane: Plane) -> psutil.Process:
    """The one fork server of a control plane."""
    (process,) = [each for each in psutil.Process(plane.process.pid).children() if each.name() == "modal-forks"]
    return process


@pytest.mark.parametrize("fact", ["programs", "prefixes", "settings", "path", "streams", "input", "signals"])
def test_a_container_is_as_a_fresh_process_of_its_python(forked_and_fresh: dict[str, Any], fact: str) -> None:
    forked, fresh = forked_and_fresh[fact]
    assert forked == fresh


def test_nothing_in_a_container_names_its_fork_server(forked_and_fresh: dict[str, Any]) -> None:
    forked = json.dumps({fact: pair[0] for fact, pair in forked_and_fresh.items()})
    assert "/c1/venv" in forked
    assert not re.search(r"/f\d+/", forked)


@pytest.fixture(scope="module")
def forked_and_fresh(plane: Plane) -> dict[str, tuple[Any, Any]]:
    """Facts of a second container, and of a process that it has started with its own Python."""
    first, second = make_subjects(), make_subjects()
    client = plane.client()
    with first.app.run(client=client), second.app.run(client=client):
        assert first.Box().run.remote("result = 1") == 1
        forked, fresh = map(json.loads, second.Box().run.remote(IN_BOTH))
    return {fact: (forked[fact], fresh[fact]) for fact in forked}


def test_containers_have_random_numbers_of_their_own(server: Plane) -> None:
    source = "import os, random, tempfile, uuid; result = random.random(), tempfile.mktemp(), str(uuid.uuid4())"
    drawn = []
    client = server.client()
    for _ in range(2):
        made = make_subjects()
        with made.app.run(client=client):
            drawn.append(made.Box().run.remote(source))
    assert not set(drawn[0]) & set(drawn[1])


def test_a_killed_fork_server_is_replaced(server: Plane) -> None:
    client = server.client()
    for _ in range(2):
        made = make_subjects()
        with made.app.run(client=client):
            assert made.Box().run.remote("result = 1") == 1
            process = fork_server_of(server)
            process.kill()
            assert made.Box().run.remote("result = 2") == 2, "the container goes on"


def test_a_container_has_the_packages_of_its_start(places: dict[str, str], tmp_path: Path) -> None:
    """One that the fork server has imported, and that was installed anew since."""
    folder = tmp_path / "cloudpickle"
    shutil.copytree(Path(cloudpickle.__file__).parent, folder)
    (tmp_path / f"cloudpickle-{cloudpickle.__version__}.dist-info").mkdir()
    plane = Plane({**places, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])})
    try:
        found = []
        client = plane.client()
        for _ in range(2):
            made = make_subjects()
            with made.app.run(client=client):
                found.append(made.Box().run.remote("import cloudpickle; result = cloudpickle.__version__"))
            with (folder / "__init__.py").open("a") as file:
                file.write("\n__version__ = 'of today'\n")
    finally:
        plane.leave()
    assert found == [cloudpickle.__version__, "of today"]


DAEMON = """
import os, subprocess, sys
code = "import os, time; os.setsid(); os.environ.clear(); print(os.getpid(), flush=True); time.sleep(600)"
middle = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {code!r}], env={{}})"
process = subprocess.Popen([sys.executable, "-c", middle], stdout=subprocess.PIPE, text=True, env={})
result = os.getpid(), int(process.stdout.readline())
"""


ENDS: dict[str, Callable[[SimpleNamespace], object]] = {
    "stop": lambda _: None,  # the app stops at the end of the block
    "exit": lambda seen: seen.box.run.spawn("import os; os._exit(3)"),
    "kill the container": lambda seen: os.kill(seen.container, signal.SIGKILL),
    "kill the control plane": lambda seen: os.kill(seen.plane, signal.SIGKILL),
}


@pytest.mark.parametrize("end", ENDS)
def test_whatever_a_container_has_started_ends_with_it(server: Plane, end: str) -> None:
    """Also what left its session and its parents, and has no variable of the container."""
    made = make_subjects()
    seen = SimpleNamespace(box=made.Box(), plane=server.process.pid)
    with suppress(modal.exception.Error), made.app.run(client=server.client()):
        seen.container, seen.daemon = seen.box.run.remote(DAEMON)
        assert psutil.pid_exists(seen.daemon)
        ENDS[end](seen)
        if end != "stop":
            eventually(lambda: not psutil.pid_exists(seen.daemon))
    eventually(lambda: not psutil.pid_exists(seen.daemon))
    eventually(lambda: not psutil.pid_exists(seen.container))


def test_a_container_ends_with_its_guard(server: Plane) -> None:
    """Nobody would end it later."""
    made = make_subjects()
    with made.app.run(client=server.client()):
        container, guard = made.Box().run.remote("import os; result = os.getpid(), os.getppid()")
        os.kill(guard, signal.SIGKILL)
        eventually(lambda: not psutil.pid_exists(container))
        assert made.Box().run.remote("result = 1") == 1, "in the next container"


@pytest.mark.parametrize("variables", [{"PYTHONHOME": "/nowhere"}, {"PYTHONHASHSEED": "many"}], ids=str)
def test_variables_with_which_python_does_not_start(client: Any, variables: dict[str, str]) -> None:
    image = modal.Image.debian_slim().env(variables)
    with pytest.raises(modal.exception.Error, match="exit code: 1 during startup"):
        call_in(image, client, "result = 1")


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[ForkServers]:
    """Fork servers, whose first has the seed of the kernel."""
    first = ForkServer(tmp_path / "f0", hash_seed({"PYTHONHASHSEED": "7", "WORD": "x"}))
    servers = ForkServers(tmp_path, first)
    yield servers
    servers.close()


async def life_of(pipes: ContainerPipes, act: Callable[[Child], None]) -> tuple[int, int]:
    """The process id and the exit code of a container that is not defined."""
    child = Child(pipes)
    await child.watch(lambda *_: None)
    act(child)
    return await child.started, await child.gone()


def leave(child: Child) -> None:
    """End the file of the definition, as the end of the control plane does."""
    os.close(child.pipes.definition)
    child.pipes.definition = -1


@pytest.mark.parametrize("act, code", [(leave, 0), (Child.end, -9)], ids=["not needed", "ended at once"])
def test_a_container_without_a_definition(servers: ForkServers, act: Callable[[Child], None], code: int) -> None:
    started, ended = asyncio.run(life_of(servers.fork({}), act))
    assert (started > 0, ended) == (True, code)


def test_a_server_has_one_set_of_variables(servers: ForkServers, tmp_path: Path) -> None:
    wanted: list[dict[str, str]] = [
        {"PYTHONHASHSEED": "7"},
        {},
        {"LD_BIND_NOW": "1", "PYTHONHASHSEED": "7"},
        {"PYTHONHASHSEED": "7", "LD_BIND_NOW": "1"},
        {},
        {"PYTHONHASHSEED": "7"},
    ]
    forked = [servers.fork(each) for each in wanted]
    assert [dict(each.server.variables) for each in forked] == wanted
    assert len({id(each.server) for each in forked}) == MOST_SERVERS
    assert [each.container_root.path.name for each in forked] == [f"c{number}" for number in range(len(wanted))]
    for pipes in forked:
        assert asyncio.run(life_of(pipes, leave))[1] == 0


def test_a_server_that_was_not_used_for_long_ends_after_its_last_request(servers: ForkServers) -> None:
    forked = [servers.fork({"LD_BIND_NOW": str(number)}) for number in range(MOST_SERVERS + 1)]
    for pipes in forked:
        assert asyncio.run(life_of(pipes, leave))[1] == 0
    eventually(lambda: forked[0].server.process.poll() is not None)
    assert [each.server.process.poll() for each in forked[1:]] == [None] * MOST_SERVERS


def test_a_fork_server_that_hangs_is_given_up(servers: ForkServers) -> None:
    pipes = servers.fork({})
    os.kill(pipes.server.process.pid, signal.SIGSTOP)
    assert asyncio.run(life_of(pipes, Child.give_up)) == (0, -9)
