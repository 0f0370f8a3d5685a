"""Connect the `modal.Client` of a backend.

`cloud` and `local` differ in two things only: the client, and the directory in which large buffers are shared.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from modal_gpu_magic.errors import BackendLost, SetupError
from modal_gpu_magic.sdk.choice import Kind
from modal_gpu_magic.sdk.modal_client import client_at, limit_closed_streams
from modal_gpu_magic.sdk.session_volume import SessionVolume
from modal_gpu_magic.sdk.threads import in_thread
from modal_gpu_magic.wire.buffers.stores import SharedStore
from modal_gpu_magic.wire.process.interpreter import HASH_SEED, hash_seed

if TYPE_CHECKING:
    from concurrent.futures import Future

ROOT = Path(__file__).parents[2]
"""The directory that contains this package."""
START_SECONDS = 30
"""Seconds that the local control plane may take to send its first message; measured: less than two."""
CONNECT_SECONDS = 10
"""Seconds that the first connection to Modal, or to a lasting control plane, may take."""
LINGER = 600.0
"""Seconds after which a lasting control plane ends that has no deployed app and no user."""
ATTEMPTS = 3
"""Lasting control planes that may end, one after the other, while this kernel connects to them."""
AGAIN = "Run the cell again: a new one is started."


@dataclass(slots=True)
class Backend:
    """A reachable control plane.

    Attributes:
        kind: `cloud` or `local`.
        client: a `modal.Client`.
        store: directory of the stores (local), or None (cloud).
        process: process of the kernel's own local control plane.
        connection: held connection to a lasting control plane, which is no child of the kernel.
        lost: the error, after the control plane has ended.
    """

    kind: Kind
    client: Any
    store: str | None = None
    process: subprocess.Popen[bytes] | None = None
    connection: socket.socket | None = None
    volume: SessionVolume = field(default_factory=SessionVolume)
    _watchers: list[Callable[[Exception], None]] = field(default_factory=list)
    lost: Exception | None = None

    def on_loss(self, tell: Callable[[Exception], None]) -> Callable[[], None]:
        """Call `tell(error)` when the control plane ends (the SDK itself would retry for 40 s).

        Returns:
            A function that removes the callback, for an App that is closed.
        """
        self._watchers.append(tell)
        return lambda: self._watchers.remove(tell) if tell in self._watchers else None

    def new_store(self) -> SharedStore | None:
        """Return a new store of large buffers, in a directory of its own; None: buffers travel in the message."""
        return SharedStore(Path(self.store, uuid.uuid4().hex)) if self.store else None

    @property
    def lasting(self) -> bool:
        """Whether the control plane outlives this kernel."""
        return self.kind == "cloud" or self.connection is not None

    def session_volume(self) -> Any:
        """Return the Volume with the saved states of this kernel's sessions; it ends with the kernel."""
        return self.volume.open(self.client)

    def close(self) -> None:
        """End the kernel's own control plane, with its containers and files. A lasting one and the cloud go on."""
        if self.process is not None and self.process.stdin is not None:
            self.lost = self.lost or BackendLost("the local control plane was closed.")
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        if self.connection is not None:
            self.lost = self.lost or BackendLost("the connection to the local control plane was closed.")
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    def watch(self) -> None:
        """Wait for the end of the kernel's own control plane, in a thread, and report it."""
        process = cast("subprocess.Popen[bytes]", self.process)
        code = process.wait()
        self._lose(f"the local control plane ended (exit code {code}), and its containers with it. {AGAIN}")

    def has_ended(self) -> bool:
        """Whether the control plane has ended, also if the thread that waits for its end has not said so yet."""
        if self.lost is None and self.process is not None and _has_ended(self.process):
            self._lose(f"the local control plane ended, and its containers with it. {AGAIN}")
        return self.lost is not None

    def watch_connection(self) -> None:
        """Wait until a lasting control plane closes the held connection, in a thread, and report it."""
        with cast("socket.socket", self.connection) as connection, contextlib.suppress(OSError):
            while connection.recv(4096):
                pass
        self._lose(f"the local control plane of detached sessions ended, and its containers with it. {AGAIN}")

    def _lose(self, text: str) -> None:
        if self.lost is None:
            self.lost = BackendLost(text)
            for tell in tuple(self._watchers):
                tell(self.lost)


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process has ended. Another thread may wait for it, and `poll` gives no answer meanwhile."""
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # the other thread has the exit code
        return True


_open: dict[tuple[Kind, bool], Backend] = {}
_attempts: dict[tuple[Kind, bool], Future[Backend]] = {}
"""Connections that `connect_soon` is making."""
_lock = threading.Lock()


def connect(kind: Kind, *, lasting: bool = False, linger: float = LINGER) -> Backend:
    """Return the kernel's backend; start it at its first use, and again after a loss.

    Args:
        kind: `cloud` or `local`.
        lasting: use the local control plane of the user that outlives kernels, and that all of them share. The cloud
            outlives them anyway.
        linger: seconds after which a lasting control plane ends that has no deployed app and no user. Counts for who
            starts it.

    Raises:
        SetupError: no token, a refused token, or a control plane that does not start.
    """
    attempt = _attempts.get(_key(kind, lasting))
    if attempt is not None and not attempt.done():
        return attempt.result()
    return _connect(kind, lasting, linger)


def connect_soon(kind: Kind, *, lasting: bool = False, has_volume: bool = False) -> None:
    """Begin to connect and return once the SDK is loaded: the backend answers while the caller imports and prepares.

    A `connect` in the meantime waits for this attempt, and raises its error. A later one tries again.

    Args:
        kind: `cloud` or `local`.
        lasting: see `connect`.
        has_volume: also open the Volume of the kernel's sessions.
    """
    key = _key(kind, lasting)
    backend = _open.get(key)
    if key in _attempts or (backend is not None and not backend.has_ended()):
        return
    attempt = _attempts[key] = in_thread(lambda: _connect(kind, lasting, LINGER), "modal-gpu-connect")
    attempt.add_done_callback(lambda _: _attempts.pop(key, None))
    if has_volume:
        in_thread(partial(_open_volume, attempt), "modal-gpu-volume")
    _load_modal()


def _open_volume(attempt: Future[Backend]) -> None:
    """Open the session Volume of a backend. An error is met again by the App that needs the Volume."""
    with contextlib.suppress(Exception):
        attempt.result().session_volume()


def _key(kind: Kind, lasting: bool) -> tuple[Kind, bool]:  # noqa: FBT001 - part of the key
    return kind, lasting and kind == "local"


def _connect(kind: Kind, lasting: bool, linger: float) -> Backend:  # noqa: FBT001 - as in the key
    start = _cloud if kind == "cloud" else partial(_lasting, linger) if lasting else _local
    with _lock:
        backend = _kept(_key(kind, lasting), start)
    if backend is None:
        raise SetupError(f"the local control plane of detached sessions ended while it was connected to. {AGAIN}")
    return backend


def connect_if_running(kind: Kind) -> Backend | None:
    """Return the backend that has detached sessions; None: no lasting local control plane runs, so none exist.

    Starts no control plane.

    Raises:
        SetupError: no token, a refused token, or a control plane that does not answer.
    """
    if kind == "cloud":
        return connect(kind)
    with _lock:
        return _kept((kind, True), partial(_lasting, None))


def _kept(key: tuple[Kind, bool], start: Callable[[], Backend | None]) -> Backend | None:
    """Return the backend that this kernel has; get it by `start` at its first use, and after a loss."""
    backend = _open.get(key)
    if backend is not None and backend.has_ended():
        atexit.unregister(backend.close)
        del _open[key]
        backend = None
    if backend is None and (backend := start()) is not None:
        _open[key] = backend
        atexit.register(backend.close)
    return backend


def _cloud() -> Backend:
    """Connect to Modal. The SDK tries for a minute; its attempts go on after the error, for the next cell.

    Raises:
        SetupError: no token, or Modal cannot be reached.
    """
    from modal_gpu_magic.sdk.faults import is_transient, translate

    limit_closed_streams()
    from_env = _modal().Client.from_env
    clients: list[Any] = []
    errors: list[BaseException] = []

    def try_to_connect() -> None:
        try:
            clients.append(from_env())
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    thread = threading.Thread(target=try_to_connect, name="modal-gpu-connect", daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    if clients:
        return Backend("cloud", clients[0])
    if errors and not is_transient(errors[0]):
        raise translate(errors[0]) from errors[0]
    raise SetupError(
        f"Modal cannot be reached for {CONNECT_SECONDS} s: check the network, a proxy (HTTPS_PROXY) and "
        "status.modal.com, then run the cell again; or use --backend local."
    ) from (errors[0] if errors else None)


def _local() -> Backend:
    process = subprocess.Popen(
        [sys.executable, "-m", "modal_gpu_magic.control_plane"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        cwd=ROOT,  # `-m` imports from this directory first; the notebook's folder may have a `queue.py`
        env=_with_package_path(os.environ),
    )
    _modal()  # load the SDK while the control plane starts: each takes about 0.5 s of one core
    hello = _hello(process)
    client = client_at(hello["url"], hello["token_id"], hello["token_secret"])
    backend = Backend("local", client, hello["store"], process)
    threading.Thread(target=backend.watch, name="modal-gpu-backend", daemon=True).start()
    return backend


def _lasting(linger: float | None) -> Backend | None:
    """Connect to the user's lasting control plane. One that ends at this moment is looked for again.

    Args:
        linger: for a control plane that this starts; None: start none.

    Returns:
        The backend, or None if no control plane runs.

    Raises:
        SetupError: the control plane does not start, its directory is not the user's, or the server does not answer.
    """
    for _ in range(ATTEMPTS):
        hello = _find_lasting(linger)
        if hello is None:
            break
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(hello["url"]).removeprefix("unix://"))
            client = _answering_client(hello)
        except OSError:
            client = None
        except SetupError:
            connection.close()
            raise
        if client is None:
            connection.close()
            continue
        backend = Backend("local", client, hello["store"], connection=connection)
        threading.Thread(target=backend.watch_connection, name="modal-gpu-backend", daemon=True).start()
        return backend
    return None


def _find_lasting(linger: float | None) -> dict[str, Any] | None:
    """Return the address of the lasting control plane, which this starts if none runs and `linger` is given."""
    options = ("--find",) if linger is None else ("--lasting", "--linger", repr(linger))
    process = subprocess.Popen(
        [sys.executable, "-m", "modal_gpu_magic.control_plane", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        cwd=ROOT,  # as in `_local`
        env=_with_package_path(os.environ),
    )
    _modal()
    try:
        said, errors = process.communicate(timeout=2 * START_SECONDS)
        return cast("dict[str, Any] | None", json.loads(said))
    except (subprocess.TimeoutExpired, ValueError):
        if process.returncode is None:
            process.kill()
            _, errors = process.communicate()
        lines = errors.decode(errors="replace").strip().splitlines()
        raise SetupError(
            lines[-1] if lines else "the local control plane of detached sessions did not start."
        ) from None


def _answering_client(hello: Mapping[str, Any]) -> Any:
    """Return a client of a lasting control plane; None if the server ended meanwhile.

    Raises:
        SetupError: the server does not answer, as one that was stopped by SIGSTOP.
    """
    clients: list[Any] = []

    def say_hello() -> None:
        with contextlib.suppress(Exception):
            client = client_at(hello["url"], hello["token_id"], hello["token_secret"])
            client.hello()
            clients.append(client)

    thread = threading.Thread(target=say_hello, name="modal-gpu-connect", daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    if thread.is_alive():
        raise SetupError(
            f"the local control plane of detached sessions (process {hello['pid']}) does not answer: "
            f"let it go on (kill -CONT {hello['pid']}), or end it with its sessions (kill -KILL {hello['pid']})."
        )
    return clients[0] if clients else None


def _modal() -> Any:
    """Load and return the SDK, when a backend first connects.

    In a thread, since ■ stops an import in the main thread. Python keeps the submodules that were loaded by then, and
    the next import does not bind them in the package: `modal.exception` would be missing until the kernel ends.
    """
    if "modal" not in sys.modules:
        _load_modal()
    return importlib.import_module("modal")


def _load_modal() -> None:
    thread = threading.Thread(target=_import_modal, name="modal-gpu-import", daemon=True)
    thread.start()
    thread.join()


def _import_modal() -> None:
    with contextlib.suppress(Exception):  # the import in the caller's thread raises the error
        importlib.import_module("modal")


def _hello(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    line: list[bytes] = []
    reader = threading.Thread(
        target=lambda: line.append(process.stdout.readline() if process.stdout else b""), daemon=True
    )
    reader.start()
    reader.join(START_SECONDS)
    try:
        return cast("dict[str, Any]", json.loads(line[0]))
    except (IndexError, ValueError) as error:
        process.kill()
        raise SetupError(
            "the local control plane did not start; `python -m modal_gpu_magic.control_plane` in a terminal says why."
        ) from error


def _with_package_path(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which a child imports this same package, even if the kernel changed `sys.path`.

    The seed of hashes is the one that the kernel was started with: a cell that sets the variable changes no hash here.
    """
    environ = {name: value for name, value in environ.items() if name != HASH_SEED} | hash_seed()
    paths = dict.fromkeys([str(ROOT), *filter(None, environ.get("PYTHONPATH", "").split(os.pathsep))])
    return {**environ, "PYTHONPATH": os.pathsep.join(paths)}
