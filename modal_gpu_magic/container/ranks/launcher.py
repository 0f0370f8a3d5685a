"""Run a cell in ranks: send the values that the cell reads through files, and bring rank 0's output and variables back.

The session's process lives on during the run. The variables that rank 0 binds become the session's own; the session
then returns or keeps them as after any other cell.
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
from modal_gpu_magic.wire.inspection.own_modules import own_modules
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
from modal_gpu_magic.wire.messages.place_names import place_in
from modal_gpu_magic.wire.pickles.fingerprints import fingerprint, why_not
from modal_gpu_magic.wire.pickles.identity import IdentityTable
from modal_gpu_magic.wire.transfer import prepare, unpack
from modal_gpu_magic.wire.values.referenced_globals import reach

if TYPE_CHECKING:
    from modal_gpu_magic.container.cell.shell import RemoteShell
    from modal_gpu_magic.container.output.event_sender import EventSender
    from modal_gpu_magic.container.output.phase_log import PhaseLog
    from modal_gpu_magic.container.output.stdin_proxy import StdinProxy
    from modal_gpu_magic.container.process.interrupt import Interrupt

EVERYTHING: Final = 1 << 62
"""Bytes: no size limit for values that rank 0 returns to the session's process."""
PORTS: Final = (20_000, 12_000)
"""The first port and the number of ports for a cluster's rendezvous: below Linux's range for outgoing connections."""
MEMORY: Final = Path("/dev/shm")  # noqa: S108 - files only this user can read
"""Directory in memory for the values' files, used if the directory exists and has enough space."""
PREFIX: Final = "mgr-"
"""Prefix of the name of a run's directory; the session's process id follows."""
NEEDS_TORCH = "torchrun needs PyTorch, which the image lacks; write --image torch, or add --pip torch."


@dataclass(frozen=True, slots=True)
class Place:
    """The position of a container in its cluster, and how to start its ranks.

    Attributes:
        node: this node's number.
        nodes: number of nodes.
        master: address of node 0.
        stateless: whether the container loses its values after the cell.
        program: the module that each rank runs.
        variables: environment variables of a rank, in addition to the container's.
    """

    node: int = 0
    nodes: int = 1
    master: str = ""
    stateless: bool = False
    program: str = "modal_gpu_magic.container.ranks.rank"
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ran:
    """The outcome of a cell's user code.

    Attributes:
        result: the last expression's value, if any.
        failure: the error that ended the cell, if any.
        lost: values that ended with the ranks.
        started_at: when user code began, in Unix seconds.
        ended_at: when user code ended, in Unix seconds.
        states: process state that rank 0 changed. The changes of other ranks are lost.
    """

    result: tuple[Any, ...] = ()
    failure: Failure | None = None
    lost: tuple[StayedValue, ...] = ()
    started_at: float = 0.0
    ended_at: float = 0.0
    states: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Seconds that user code took."""
        return self.ended_at - self.started_at


def run(
    request: Request,
    place: Place,
    shell: RemoteShell,
    sender: EventSender,
    input_proxy: StdinProxy,
    interrupt: Interrupt,
    phases: PhaseLog,
) -> Ran:
    """Run a cell in ranks, until it ends or the user presses ■. Never raises when a rank fails or dies."""
    began = time.time()
    distributed, namespace = request.distributed or DistributedOptions(), shell.user_ns
    refusal = _refusal(distributed, namespace)
    if refusal:
        return Ran((), failure_from(MachineError(refusal)), (), began, time.time())
    size = (distributed.processes or devices.count() or 1) if distributed.torchrun else 1
    phases.enter("starting ranks", f"{place.nodes * size} {'rank' if place.nodes * size == 1 else 'ranks'}")
    parent = _directory_for_values(request, namespace)
    remove_abandoned(parent)
    directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=parent))
    try:
        table = IdentityTable(side=0)
        order = _order(request, place, shell, sender, directory, table)
        events = _RankEvents(distributed, sender, input_proxy)

        def begun(at: float) -> None:
            phases.enter("running", at=at)

        with RankProcesses(order, size, directory, events.forward, begun) as rank_processes:
            events.rank_processes = rank_processes
            rank_processes.start(
                _command(distributed, place, size, request.run, directory), _variables(distributed, place)
            )
            _await(rank_processes, interrupt)
        for name, why in rank_processes.dones[0].failed.items() if 0 in rank_processes.dones else ():
            sender.emit("note", text=f"`{name}` could not be made in the ranks: {why}.")
        return _collect(rank_processes, namespace, SharedStore(directory), table, interrupt, place, began)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _await(rank_processes: RankProcesses, interrupt: Interrupt) -> None:
    """Wait until all ranks have ended. If a rank fails or the user presses ■, stop the others."""
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


# Input of the ranks.


def _order(
    request: Request, place: Place, shell: RemoteShell, sender: EventSender, directory: Path, table: IdentityTable
) -> Order:
    """Write the values that the cell reads to files and build the order for the ranks. `table` records the objects."""
    namespace = shell.user_ns
    values: dict[str, Any] = {}
    hasher = Hasher()
    for name in sorted(reach(request.reads, namespace)):
        value = namespace[name]
        if name in shell.user_ns_hidden and shell.user_ns_hidden[name] is value:
            continue  # bound by IPython, which binds its own in each rank
        if fingerprint(value, namespace, hasher) is None:
            sender.emit("note", text=f"`{name}` is not in the ranks: {why_not(value, namespace)}.")
        else:
            values[name] = value
    of_modules = own_modules().sendable(own_modules().changed())
    places = own_modules().claims(of_modules.values(), table)
    packed = prepare(values | of_modules, namespace, SharedStore(directory), hasher, table=table)
    packed.arrived(table)
    transfer = packed.transfer
    source: str = shell.transform_cell(request.source)
    script = spawned.write(directory, transfer, source)
    fetch_bytes = request.fetch_bytes if place.stateless else EVERYTHING
    ranked = replace(
        request,
        values=transfer,
        places=places,
        own_modules=tuple(own_modules().loaded.union(request.own_modules)),
        drops=(),
        forgot=(),
        store=str(directory),
        fetch_bytes=fetch_bytes,
        distributed=None,
        modules=None,
        files=ProjectFiles(),  # ranks run in this container's directory
    )
    return Order(ranked, str(directory), str(script), place.nodes, place.node)


def _directory_for_values(request: Request, namespace: Mapping[str, Any]) -> Path:
    """Return the directory for the values' files: in memory, if space is left for the values in both directions."""
    needed = 2 * sum(nbytes_of(namespace[name]) for name in request.reads if name in namespace)
    with contextlib.suppress(OSError):
        if shutil.disk_usage(MEMORY).free > needed and os.access(MEMORY, os.W_OK):
            return MEMORY
    return Path(tempfile.gettempdir())


def remove_abandoned(place: Path) -> None:
    """Remove directories of sessions that were killed while their ranks ran: local containers share one machine."""
    for directory in place.glob(f"{PREFIX}*-*"):
        pid = directory.name.removeprefix(PREFIX).partition("-")[0]
        with contextlib.suppress(PermissionError, ValueError):  # the process of another user
            try:
                os.kill(int(pid), 0)
            except ProcessLookupError:
                shutil.rmtree(directory, ignore_errors=True)


def _command(distributed: DistributedOptions, place: Place, size: int, run: str, directory: Path) -> list[str]:
    if not distributed.torchrun:
        return [sys.executable, "-m", place.program]
    rendezvous = ["--standalone", "--local-addr=127.0.0.1"]
    if place.nodes > 1:
        first, count = PORTS
        port = first + zlib.crc32(run.partition("/")[0].encode()) % count
        rendezvous = [
            f"--nnodes={place.nodes}",
            f"--node-rank={place.node}",
            f"--master-addr={place.master}",
            f"--master-port={port}",
        ]
    launcher = [sys.executable, "-m", "modal_gpu_magic.container.ranks.torchrun", str(directory / "report")]
    return [*launcher, f"--nproc-per-node={size}", *rendezvous, "-m", place.program]


def _variables(distributed: DistributedOptions, place: Place) -> dict[str, str]:
    """Return a rank's extra environment variables; without torchrun, also the variables that torchrun would set."""
    nodes = {ONE_A_NODE: str(place.node), "GROUP_RANK": str(place.node), "GROUP_WORLD_SIZE": str(place.nodes)}
    return {**place.variables, **({} if distributed.torchrun else nodes)}


class _RankEvents:
    """Forwards events of the ranks: rank 0's become the cell's events; other ranks' carry the rank, if wanted."""

    def __init__(self, distributed: DistributedOptions, sender: EventSender, input_proxy: StdinProxy) -> None:
        self.rank_processes: RankProcesses | None = None
        self._distributed, self._sender, self._input_proxy = distributed, sender, input_proxy

    def forward(self, rank: int, event: Event) -> None:
        """Forward one event. `failed` is dropped: the failure of one rank is not yet the cell's failure."""
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
        except Exception:  # noqa: BLE001 - without an answer, the rank reads end of input
            text = END_OF_INPUT
        if self.rank_processes is not None:
            self.rank_processes.answer(text)


# Results of the ranks.


def _collect(
    rank_processes: RankProcesses,
    namespace: dict[str, Any],
    store: SharedStore,
    table: IdentityTable,
    interrupt: Interrupt,
    place: Place,
    began: float,
) -> Ran:
    done = rank_processes.dones.get(0)
    result, lost = _take_variables(done, namespace, store, table, place) if done else ((), ())
    started = began if rank_processes.began_at is None else rank_processes.began_at
    dones = rank_processes.dones.values()
    ended = max(each.ended_at for each in dones) if len(dones) == rank_processes.size else time.time()
    failure = _failure(rank_processes, interrupt)
    return Ran(result, failure, lost, started, max(started, ended), done.states if done else {})


def _take_variables(
    done: Done, namespace: dict[str, Any], store: SharedStore, table: IdentityTable, place: Place
) -> tuple[tuple[Any, ...], tuple[StayedValue, ...]]:
    """Bind rank 0's variables in the session; return the result and the values that could not be brought back."""
    leaving = done.leaving
    if leaving is None:
        return (), ()
    table.forget(leaving.forgot)
    homes = own_modules().finder(leaving.places, table)
    arrived = unpack(leaving.values, namespace, store, table=table, restore_devices=True, homes=homes)
    own_modules().take(arrived.values)
    result = (arrived.values.pop(RESULT),) if RESULT in arrived.values else ()
    namespace.update(arrived.values)
    for name, statement in leaving.imported.items():
        with contextlib.suppress(ImportError):
            namespace[name] = statement.run()
    lost = [
        replace(stay, why=f"it ended with rank 0: {stay.why}{_hint(stay, place)}", gone=True) for stay in leaving.stays
    ]
    failed = {name: why for name, why in arrived.failed.items() if place_in(name) is None}
    for name, why in failed.items():
        kind, look = leaving.looks.get(name, ("object", ""))
        lost.append(StayedValue(name, kind, look, f"it ended with rank 0: {why}", gone=True))
    for name in (*leaving.gone, *(stay.name for stay in lost)):
        namespace.pop(name, None)
    return result, tuple(lost)


def _hint(stay: StayedValue, place: Place) -> str:
    if place.stateless and "--fetch" in stay.why:
        return f"; bring it with --out {stay.name}, or write it to a Volume in the cell"
    return ""


def _failure(rank_processes: RankProcesses, interrupt: Interrupt) -> Failure | None:
    """Return the first error that a rank raised; else the stop; else the death of a rank; else None."""
    own = [(done.ended_at, done.failure) for done in rank_processes.dones.values() if done.failure and not done.stopped]
    if own:
        return min(own, key=lambda pair: pair[0])[1]
    stopped = interrupt.asked or interrupt.timed_out
    if stopped:
        stopped_failures = [done.failure for _, done in sorted(rank_processes.dones.items()) if done.failure]
        words = "stopped; ranks that did not react were ended"
        return stopped_failures[0] if stopped_failures else failure_from(KeyboardInterrupt(words))
    if rank_processes.death is not None and len(rank_processes.dones) < rank_processes.size:
        return failure_from(RankLost(_describe(rank_processes.death)))
    return None


def _describe(death: Death) -> str:
    """Describe the death of a rank in one sentence, followed by its last output."""
    who = "torchrun" if death.rank is None else f"rank {death.rank}"
    if death.code is None:
        how = "exited before the cell ended"
    elif death.code >= 0:
        how = f"exited with status {death.code} before the cell ended"
    else:
        name = signal.Signals(-death.code).name
        how = f"died of {name}"
        if name == "SIGKILL":
            how += ", probably out of memory; ask for more, for example --memory 32GB"
    return f"{who} {how}." + (f" Its last output:\n{death.words.rstrip()}" if death.words.strip() else "")
