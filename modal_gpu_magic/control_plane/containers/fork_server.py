"""Start the processes of containers: a fork takes 10 ms instead of the time of the imports.

Imported before slow modules, so that the fork server imports while the control plane starts.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.control_plane.containers import fork_server_program
from modal_gpu_magic.control_plane.containers.fork_server_program import Pipes
from modal_gpu_magic.control_plane.containers.root import ContainerRoot

if TYPE_CHECKING:
    from pathlib import Path

MOST_SERVERS: Final = 3
"""Most fork servers of one control plane; each has 60 MB of its own."""
END_SECONDS: Final = 0.5
"""Longest time between the end of a process's pipes and its own."""
Variables = Mapping[str, str]


@dataclass(slots=True, eq=False)
class ContainerPipes:
    """This side of the pipes of one container.

    Attributes:
        container_root: directory of the container.
        server: who forks the container.
        definition: write end of the pipe for the definition; -1: the definition was sent.
        guard: write end of the pipe whose closing, also by this process's end, ends the container; -1: closed.
        status: read end of the pipe with process id and exit code.
        stdout: read end of the container's standard output.
        stderr: read end of the container's standard error.
    """

    container_root: ContainerRoot
    server: ForkServer
    definition: int
    guard: int
    status: int
    stdout: int
    stderr: int

    def define(self, definition: Mapping[str, Any]) -> None:
        """Send the definition of the container, unless it has ended. Raises BrokenPipeError if it is just ending."""
        if self.definition >= 0:
            descriptor, self.definition = self.definition, -1
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(json.dumps({"path": str(self.container_root.path), **definition}).encode() + b"\n")

    def end(self) -> None:
        """End the container with all processes that it has started. The status says when it has ended."""
        descriptor, self.guard = self.guard, -1
        if descriptor >= 0:
            os.close(descriptor)

    def close(self) -> None:
        """Close the write ends, after the container's end."""
        self.end()
        descriptor, self.definition = self.definition, -1
        if descriptor >= 0:
            os.close(descriptor)


class ForkServer:
    """A process that forks containers, all with the same variables before Python runs.

    Args:
        path: directory of the server, with a virtual environment as a container has one.
        variables: additional variables before Python runs.
        first: the pipes of the first container, whose standard error gets Python's complaints about the variables; the
            server may end by these before it reads a request. None: no container is asked for.

    Attributes:
        process: the process.
        variables: its additional variables.
    """

    def __init__(self, path: Path, variables: Variables, first: Pipes | None = None) -> None:
        self.variables = variables
        root = ContainerRoot(path)
        root.make()
        self._requests, theirs = socket.socketpair()
        with theirs:
            if first is not None:
                self.fork(first)
            self.process = subprocess.Popen(
                [root.python, fork_server_program.__file__, str(theirs.fileno())],
                env={**root.environment(), **variables},
                cwd=root.root,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL if first is None else first.stderr,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )

    def fork(self, pipes: Pipes) -> None:
        """Ask for a container with these pipes. Raises OSError if the server has ended."""
        socket.send_fds(self._requests, [b"f"], pipes)

    def exit_code(self) -> int:
        """Return the exit code of a server that is ending; -9 if it is not."""
        with suppress(subprocess.TimeoutExpired):
            return self.process.wait(END_SECONDS)
        return -signal.SIGKILL

    def leave(self) -> None:
        """Let the server end once it has forked the containers asked for. Containers go on."""
        self._requests.close()

    def kill(self) -> None:
        """End the server at once. Containers go on."""
        self._requests.close()
        self.process.kill()
        self.process.wait()


def hash_seed(variables: Variables) -> dict[str, str]:
    """Return the seed of text's hashes that the kernel's `variables` fix, because its containers will have it, too."""
    return {name: value for name, value in variables.items() if name == "PYTHONHASHSEED" and value.isdecimal()}


class ForkServers:
    """The fork servers of a control plane: the first one, and those for containers with other variables.

    Args:
        root: directory of the control plane.
        first: a server that runs, or None.
    """

    def __init__(self, root: Path, first: ForkServer | None) -> None:
        self._root = root
        self._servers: OrderedDict[tuple[tuple[str, str], ...], ForkServer] = OrderedDict()
        self._leaving: list[ForkServer] = []
        self._containers = self._started = 0
        if first is not None:
            self._servers[_key(first.variables)] = first

    def fork(self, variables: Variables) -> ContainerPipes:
        """Fork a container that has these variables before Python runs.

        Raises:
            OSError: the machine has no room for its directory, its pipes or its process.
        """
        root = ContainerRoot(self._root / f"c{self._containers}")
        self._containers += 1
        root.make()
        pipes: list[tuple[int, int]] = []
        try:
            for _ in Pipes._fields:
                pipes.append(os.pipe())  # noqa: PERF401 - those before one that fails are closed
            (defined, definition), (guarded, guard), (status, reported), (stdout, out), (stderr, err) = pipes
            theirs = Pipes(defined, guarded, reported, out, err)
            server = self._request(variables, theirs)
        except OSError:
            for each in itertools.chain(*pipes):
                os.close(each)
            raise
        theirs.close()
        return ContainerPipes(root, server, definition, guard, status, stdout, stderr)

    def close(self) -> None:
        """End all servers."""
        for server in (*self._servers.values(), *self._leaving):
            server.kill()
        self._servers.clear()
        self._leaving.clear()

    def _request(self, variables: Variables, pipes: Pipes) -> ForkServer:
        """Ask the server with these variables for a container; start the server if none runs."""
        key = _key(variables)
        if key in self._servers:
            self._servers.move_to_end(key)
            with suppress(OSError):  # killed
                self._servers[key].fork(pipes)
                return self._servers[key]
            self._servers.pop(key).kill()
        self._started += 1
        server = self._servers[key] = ForkServer(self._root / f"f{self._started}", variables, pipes)
        self._let_one_leave()
        return server

    def _let_one_leave(self) -> None:
        """Let the server that was not used for longest leave if these are too many."""
        self._leaving = [each for each in self._leaving if each.process.poll() is None]
        if len(self._servers) > MOST_SERVERS:
            _, oldest = self._servers.popitem(last=False)
            oldest.leave()
            self._leaving.append(oldest)


def _key(variables: Variables) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(variables.items()))
