"""Messages between a session's process and its ranks, over one socket per rank. Data only.

Each message is a pair of kind and body. To a rank, first the `Order` without a kind, then:

  answer   str                     the text typed for its `input()`
  stop     None                    raise KeyboardInterrupt in the cell
  go       None                    all ranks have ended: exit

From a rank:

  hello    (rank, process id)      the first message
  frames   [pickled wire Frame]    output of the cell
  began    float                   user code begins, in Unix seconds
  stuck    bool                    one second after `stop`: whether the main thread has not handled the signal
  done     Done                    the cell has ended
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from modal_gpu_magic.container.state.cell_values import OutgoingValues
from modal_gpu_magic.wire.messages.events import Failure, Request

ADDRESS: Final = "MODAL_GPU_RANKS"
"""Environment variable with the socket's path. All child processes of a rank inherit it, and are found by it."""
ONE_A_NODE: Final = "MODAL_GPU_NODE"
"""Environment variable with the rank where no torchrun sets it: the node's number."""


@dataclass(frozen=True, slots=True)
class Order:
    """The cell that a rank runs.

    Attributes:
        request: the request; its values are in the store at `directory`.
        directory: path of the store.
        script: path of the file that stands for the cell: a child that multiprocessing spawns runs this file first.
        nodes: number of nodes.
        node: number of this node.
    """

    request: Request
    directory: str
    script: str
    nodes: int = 1
    node: int = 0


@dataclass(frozen=True, slots=True)
class Done:
    """The result of a cell in a rank.

    Attributes:
        started_at: when user code began, in Unix seconds, so that times of several nodes compare.
        ended_at: when user code ended, in Unix seconds.
        failure: the error that ended the cell, if any.
        stopped: whether the rank received a stop, so that the failure follows from the stop.
        leaving: rank 0 only: the variables it bound. The values are in the store.
        failed: names of sent values that could not be made, with the reason.
        states: rank 0 only: process state that the cell changed.
    """

    started_at: float
    ended_at: float
    failure: Failure | None = None
    stopped: bool = False
    leaving: OutgoingValues | None = None
    failed: dict[str, str] = field(default_factory=dict)
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
