"""Modal's own limits, each once: what plans respect, what the local control plane enforces. Read from SDK 1.6.4.

Constants alone: the container reads this module, too.
"""

from __future__ import annotations

from typing import Final

# Functions and their containers.

FUNCTION_TIMEOUT: Final = 86_400
"""Seconds that a call may run (`timeout`, `startup_timeout`): 24 hours."""
SCALEDOWN_SECONDS: Final = (2, 3_600)
"""Seconds that an idle container may stay (`scaledown_window`): least and most."""
SERVICE_COUNT: Final = 1_000
"""Most that the line takes for containers of a service, and for calls that one container takes at once."""
BATCH_SIZES: Final = (1, 1_000)
"""Calls in a batch, least and most (modal/_partial_function.py)."""
BATCH_WAIT_MS: Final = (0, 600_000)
"""Milliseconds that a batch waits to be full, least and most (likewise)."""
MAP_OUTSTANDING: Final = 1_000
"""Inputs that a map may have under way."""

# Clusters (modal.com/docs/guide/multi-node-clusters).

CLUSTER_NODES: Final = 32
CLUSTER_GPUS: Final = 256
"""Of all nodes together."""

# Queues.

QUEUE_ITEMS: Final = 5_000
"""Items in a partition."""
QUEUE_PARTITION_BYTES: Final = 64 << 20
QUEUE_ITEM_BYTES: Final = 1 << 20
"""Bytes of one item (measured)."""
QUEUE_POLL_SECONDS: Final = 50
"""The longest that one `get` waits at Modal."""

# Payloads.

INLINE_BYTES: Final = 2 << 20
"""Arguments and results above this size go as blobs, over HTTP."""
SPAWN_BYTES: Final = 8 << 10
"""The same for a call that is spawned (modal/_utils/blob_utils.py)."""

SESSION_MOUNT: Final = "/modal-gpu-session"
"""Where a container has the Volume of its sessions: the logs of detached runs, and saved state."""
