"""A cell in ranks: the values it reads go into fresh processes by file, rank 0's output and variables come out.

The session lives on beside them. What rank 0 binds becomes the session's; from there it goes home, or stays, as ever.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import sys
import tempfile
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from modal_gpu_magic.container.cell.failures import failure_from
from modal_gpu_magic.container.gpu import devices
from modal_gpu_magic.container.output.stdin_proxy import END_OF_INPUT
from modal_gpu_magic.container.process.output_owner import daemon
from modal_gpu_magic.container.ranks import spawned
from modal_gpu_magic.container.ranks.processes import Death, RankProcesses
from modal_gpu_magic.container.ranks.protocol import ONE_A_NODE, Done, Order
from modal_gpu_magic.errors import MachineError, RankLost
from modal_gpu_magic.wire.buffers.hashing import Hasher
from modal_gpu_magic.wire.buffers.stores import SharedStore
from modal_gpu_magic.wire.inspection.size import nbytes_of
from modal_gpu_magic.wire.messages.events import (
    RESULT,
    DistributedOptions,
    Event,
    Failure,
    ProjectFiles,
    Request,
    StayedValue,
)
from modal_gpu_magic.wire.pickles.fingerprints import fingerprint, why_not
from modal_gpu_magic.wire.pickles.identity import IdentityTable
from modal_gpu_magic.wire.transfer import prepare, unpack
from modal_gpu_magic.wire.values.referenced_globals import reach

if TYPE_CHECKING:
    from modal_gpu_magic.container.cell.shell import RemoteShell
    from modal_gpu_magic.container.output.event_sender import EventSender
    from modal_gpu_magic.container.output.stdin_proxy import StdinProxy
    from modal_gpu_magic.container.process.interrupt import Interrupt

EVERYTHING: Final = 1 << 62
"""Bytes: from rank 0 into the session nothing stays behind for its size."""
PORTS: Final = (20_000, 12_000)
"""First and number of ports for a cluster's rendezvous: below those that Linux gives to outgoing connections."""
MEMORY: Final = Path("/dev/shm")  # noqa: S108 - files only this user can read
"""Where values wait for the ranks, if there is such a place and room in it."""
PREFIX: Final = "mgr-"
"""Of a run's directory; the session's process id follows."""
NEEDS_TORCH = (
    "torchrun is PyTorch's, and the image has none: use the image torch (--image torch), or add it with --pip torch."
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where this container is in its cluster. `master`: node 0's address. `stateless`: what stays here is lost.

    `program` is the module that each rank runs, `variables` its environment beside the container's.
    """

    node: int = 0
    nodes: int = 1
    master: str = ""
    stateless: bool = False
    program: str = "modal_gpu_magic.container.ranks.rank"
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ran:
    """What a cell's run left: the last expression's value, how it failed, what ended with the ranks."""

    result: tuple[Any, ...] = ()
    failure: Failure | None = None
    lost: tuple[StayedValue, ...] = ()
    started_at: float = 0.0
    ended_at: float = 0.0
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What rank 0 changed in the process around the values. Changes of the other ranks end with them."""

    @property
    def seconds(self) -> float:
        """How long user code took."""
        return self.ended_at - self.started_at


def run(
    request: Request,
    place: Place,
    shell: RemoteShell,
    sender: EventSender,
    input_proxy: StdinProxy,
    interrupt: Interrupt,
) -> Ran:
    """Run a cell in ranks, to its end or to ■. Never raises for what becomes of them."""
    began = time.time()
    distributed, namespace = request.distributed or DistributedOptions(), shell.user_ns
    refusal = _refusal(distributed, namespace)
    if refusal:
        return Ran((), failure_from(MachineError(refusal)), (), began, time.time())
    size = (distributed.processes or devices.count() or 1) if distributed.torchrun else 1
    place_of_files = _roomy(request, namespace)
    remove_abandoned(place_of_files)
    directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=place_of_files))
    try:
        table = IdentityTable(side=0)
        order = _order(request, place, shell, sender, directory, table)
        hearing = _Hearing(distributed, sender, input_proxy)
        with RankProcesses(order, size, directory, hearing.event) as rank_processes:
            hearing.rank_processes = rank_processes
            rank_processes.start(
                _command(distributed, place, size, request.run, directory), _variables(distributed, place)
            )
            _await(rank_processes, interrupt)
        for name, why in rank_processes.dones[0].failed.items() if 0 in rank_processes.dones else ():
            sender.emit("note", text=f"`{name}` could not be made in the ranks: {why}.")
        return _brought(rank_processes, namespace, SharedStore(directory), table, interrupt, place, began)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _await(rank_processes: RankProcesses, interrupt: Interrupt) -> None:
    """Until all ranks have ended by themselves, or one has failed or ■ was pressed and the others were ended."""
    try:
        with interrupt.window():
            rank_processes.wait()
    except KeyboardInterrupt:
        pass
    if len(rank_processes.dones) == rank_processes.size and not any(
        done.failure for done in rank_processes.dones.values()
    ):
        rank_processes.release()
    else:
        rank_processes.stop()


def _refusal(distributed: DistributedOptions, namespace: dict[str, Any]) -> str | None:
    if distributed.torchrun and importlib.util.find_spec("torch") is None:
        return NEEDS_TORCH
    return devices.make_room(namespace)


# What goes in.


def _order(
    request: Request, place: Place, shell: RemoteShell, sender: EventSender, directory: Path, table: IdentityTable
) -> Order:
    """The values the cell reads, by file, and what the ranks are to do with them. `table` learns their objects."""
    namespace = shell.user_ns
    values: dict[str, Any] = {}
    hasher = Hasher()
    for name in sorted(reach(request.reads, namespace)):
        value = namespace[name]
        if name in shell.user_ns_hidden and shell.user_ns_hidden[name] is value:
            continue  # IPython's own: the ranks have theirs
        if fingerprint(value, namespace, hasher) is None:
            sender.emit("note", text=f"`{name}` is not in the ranks: {why_not(value, namespace)}.")
        else:
            values[name] = value
    packed = prepare(values, namespace, SharedStore(directory), hasher, table=table)
    packed.arrived(table)
    transfer = packed.transfer
    source: str = shell.transform_cell(request.source)  # type: ignore[no-untyped-call]  # IPython's
    script = spawned.write(directory, transfer, source)
    fetch_bytes = request.fetch_bytes if place.stateless else EVERYTHING
    ranked = replace(
        request,
        values=transfer,
        drops=(),
        forgot=(),
        store=str(directory),
        fetch_bytes=fetch_bytes,
        distributed=None,
        modules=None,
        files=ProjectFiles(),  # ranks run in this container's directory
    )
    return Order(ranked, str(directory), str(script), place.nodes, place.node)


def _roomy(request: Request, namespace: Mapping[str, Any]) -> Path:
    """Where the values' files go: into memory, if it has room for them in both directions."""
    needed = 2 * sum(nbytes_of(namespace[name]) for name in request.reads if name in namespace)
    with contextlib.suppress(OSError):
        if shutil.disk_usage(MEMORY).free > needed and os.access(MEMORY, os.W_OK):
            return MEMORY
    return Path(tempfile.gettempdir())


def remove_abandoned(place: Path) -> None:
    """Remove what a session left that was killed while its ranks ran: local containers share one machine."""
    for directory in place.glob(f"{PREFIX}*-*"):
        pid = directory.name.removeprefix(PREFIX).partition("-")[0]
        with contextlib.suppress(PermissionError, ValueError):  # another user's
            try:
                os.kill(int(pid), 0)
            except ProcessLookupError:
                shutil.rmtree(directory, ignore_errors=True)


def _command(distributed: DistributedOptions, place: Place, size: int, run: str, directory: Path) -> list[str]:
    if not distributed.torchrun:
        return [sys.executable, "-m", place.program]
    where = ["--standalone", "--local-addr=127.0.0.1"]
    if place.nodes > 1:
        first, count = PORTS
        port = first + zlib.crc32(run.partition("/")[0].encode()) % count
        where = [
            f"--nnodes={place.nodes}",
            f"--node-rank={place.node}",
            f"--master-addr={place.master}",
            f"--master-port={port}",
        ]
    launcher = [sys.executable, "-m", "modal_gpu_magic.container.ranks.torchrun", str(directory / "report")]
    return [*launcher, f"--nproc-per-node={size}", *where, "-m", place.program]


def _variables(distributed: DistributedOptions, place: Place) -> dict[str, str]:
    """A rank's environment beside the container's; without torchrun, what torchrun would say of the nodes."""
    nodes = {ONE_A_NODE: str(place.node), "GROUP_RANK": str(place.node), "GROUP_WORLD_SIZE": str(place.nodes)}
    return {**place.variables, **({} if distributed.torchrun else nodes)}


class _Hearing:
    """Ranks' events on their way to the cell's: rank 0's are the cell's own, others' have their rank, if wanted."""

    def __init__(self, distributed: DistributedOptions, sender: EventSender, input_proxy: StdinProxy) -> None:
        self.rank_processes: RankProcesses | None = None
        self._distributed, self._sender, self._input_proxy = distributed, sender, input_proxy

    def event(self, rank: int, event: Event) -> None:
        """Pass one on. The failure of one rank is not yet the cell's: what others show comes as ever."""
        if event.kind == "failed":
            return
        if rank != 0:
            if self._distributed.shows(rank):
                self._sender.emit("rank", rank=rank, event=event.kind, content=event.content)
        elif event.kind == "input_request":
            daemon("modal-gpu-ask-for-rank", lambda: self._ask(**event.content))
        else:
            self._sender.emit(event.kind, **event.content)

    def _ask(self, prompt: str, *, password: bool) -> None:
        try:
            text = self._input_proxy.ask(prompt, password=password)
        except Exception:  # noqa: BLE001 - whatever keeps an answer from coming, there is none
            text = END_OF_INPUT
        if self.rank_processes is not None:
            self.rank_processes.answer(text)


# What comes out.


def _brought(
    rank_processes: RankProcesses,
    namespace: dict[str, Any],
    store: SharedStore,
    table: IdentityTable,
    interrupt: Interrupt,
    place: Place,
    began: float,
) -> Ran:
    done = rank_processes.dones.get(0)
    result, lost = _take_home(done, namespace, store, table, place) if done else ((), ())
    started = done.started_at if done else began
    ended = max(started, done.ended_at if done else time.time())
    return Ran(result, _failure(rank_processes, interrupt), lost, started, ended, done.states if done else {})


def _take_home(
    done: Done, namespace: dict[str, Any], store: SharedStore, table: IdentityTable, place: Place
) -> tuple[tuple[Any, ...], tuple[StayedValue, ...]]:
    """Rank 0's variables become the session's; returns the result, and what could not be brought."""
    leaving = done.leaving
    if leaving is None:
        return (), ()
    table.forget(leaving.forgot)
    arrived = unpack(leaving.values, namespace, store, table=table, restore_devices=True)
    result = (arrived.values.pop(RESULT),) if RESULT in arrived.values else ()
    namespace.update(arrived.values)
    for name, statement in leaving.imported.items():
        with contextlib.suppress(ImportError):
            namespace[name] = statement.run()
    lost = [
        replace(stay, why=f"it ended with rank 0: {stay.why}{_way_out(stay, place)}", gone=True)
        for stay in leaving.stays
    ]
    for name, why in arrived.failed.items():
        kind, look = leaving.looks.get(name, ("object", ""))
        lost.append(StayedValue(name, kind, look, f"it ended with rank 0: {why}", gone=True))
    for name in (*leaving.gone, *(stay.name for stay in lost)):
        namespace.pop(name, None)
    return result, tuple(lost)


def _way_out(stay: StayedValue, place: Place) -> str:
    if place.stateless and "--fetch" in stay.why:
        return f"; bring it with --out {stay.name}, or write it to a Volume in the cell"
    return ""


def _failure(rank_processes: RankProcesses, interrupt: Interrupt) -> Failure | None:
    """The first rank's that failed by itself; else how one died; else that all were stopped."""
    own = [(done.ended_at, done.failure) for done in rank_processes.dones.values() if done.failure and not done.stopped]
    if own:
        return min(own, key=lambda pair: pair[0])[1]
    stopped = interrupt.asked or interrupt.timed_out
    if stopped:
        theirs = [done.failure for _, done in sorted(rank_processes.dones.items()) if done.failure]
        words = "stopped; ranks that sat in a call that does not return were ended"
        return theirs[0] if theirs else failure_from(KeyboardInterrupt(words))
    if rank_processes.death is not None and len(rank_processes.dones) < rank_processes.size:
        return failure_from(RankLost(_obituary(rank_processes.death)))
    return None


def _obituary(death: Death) -> str:
    """How a rank died, in a sentence, and the last it wrote."""
    who = "torchrun" if death.rank is None else f"rank {death.rank}"
    if death.code is None:
        how = "left before its cell had ended"
    elif death.code >= 0:
        how = f"left with exit status {death.code} before its cell had ended"
    else:
        name = signal.Signals(-death.code).name
        how = f"died of {name}"
        if name == "SIGKILL":
            how += ", most often for want of memory; give it more, e.g. --memory 32GB"
    return f"{who} {how}." + (f" The last it wrote:\n{death.words.rstrip()}" if death.words.strip() else "")
