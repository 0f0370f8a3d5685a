"""What a session's process and its ranks say to each other, over one socket a rank. Data only.

Each message is a pair of kind and body. To a rank: first its `Order` alone, then

  answer   str                     what was typed for its `input()`
  stop     None                    KeyboardInterrupt in its cell
  go       None                    all ranks have ended: leave

From a rank:

  hello    (rank, process id)      the first
  frames   [pickled wire Frame]    what its cell puts out
  stuck    bool                    some time after `stop`: whether its main thread did not even hear of it
  done     Done                    its cell has ended
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from modal_gpu_magic.container.state.cell_values import OutgoingValues
from modal_gpu_magic.wire.messages.events import Failure, Request

ADDRESS: Final = "MODAL_GPU_RANKS"
"""Environment variable: the socket's path. Whatever is started below a rank has it too, and is found by it."""
ONE_A_NODE: Final = "MODAL_GPU_NODE"
"""Environment variable: the rank, where no torchrun says it: the node's number."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a rank is to run. The request's values are in the store at `directory`."""

    request: Request
    directory: str
    script: str
    """Path of the file that stands for the cell: what a child that multiprocessing spawns runs first."""
    nodes: int = 1
    node: int = 0


@dataclass(frozen=True, slots=True)
class Done:
    """How a rank's cell ended. Times are Unix times, so that ranks of several nodes compare."""

    started_at: float
    ended_at: float
    failure: Failure | None = None
    stopped: bool = False
    """It was told to stop: its failure follows from that."""
    leaving: OutgoingValues | None = None
    """Rank 0: what it bound. The values are in the store."""
    failed: dict[str, str] = field(default_factory=dict)
    """Names sent that could not be made, with the reason."""
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Rank 0: what the cell changed in the process around the values."""
