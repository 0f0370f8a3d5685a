"""The workspace of this control plane: its name, the price list as its rates, and a bill that reads its own meter."""

# ruff: noqa: ARG002 - every RPC is called with (request, peer)

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from modal_proto import api_pb2

from modal_gpu_magic.catalog.gpus import GPUS
from modal_gpu_magic.catalog.prices import CPU, DEFAULT_CORES, DEFAULT_MEMORY_MIB, MEMORY
from modal_gpu_magic.control_plane.messages import known
from modal_gpu_magic.control_plane.refusals import Invalid, moment
from modal_gpu_magic.line.spec import GpuSpec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from google.protobuf.empty_pb2 import Empty

    from modal_gpu_magic.control_plane.containers.usage_meter import Row, UsageMeter
    from modal_gpu_magic.control_plane.scheduling.state import Container

RESOLUTIONS: Final = {"d": 86_400, "h": 3_600}
"""Seconds of an interval of a report."""
MOST_INTERVALS: Final = 10_000
_KEYS: Final = {"A10": "a10g", "RTX-PRO-6000": "rtx6000"}
"""Ends of keys that are not the GPU's name."""


class Workspaces:
    """RPCs of the workspace. `meter`: the container-seconds."""

    def __init__(self, meter: UsageMeter) -> None:
        self._meter = meter

    async def WorkspaceNameLookup(self, request: Empty, peer: Container | None) -> api_pb2.WorkspaceNameLookupResponse:
        """`modal.Workspace.from_context()`."""
        return known(api_pb2.WorkspaceNameLookupResponse, username="local", workspace_name="local")

    async def WorkspaceBillingRates(
        self, request: api_pb2.WorkspaceBillingRatesRequest, peer: Container | None
    ) -> api_pb2.WorkspaceBillingRatesResponse:
        """`workspace.billing.rates()`: the price list, USD per hour, by the keys of Modal's server."""
        pinned = (gpu for gpu in GPUS.values() if gpu.pinned)
        gpus = {
            f"gpu_hour_cost_{_KEYS.get(gpu.name, gpu.name.lower().replace('-', '_'))}": gpu.price_per_hour
            for gpu in pinned
        }
        rates = {**gpus, "cpu_hour_cost": CPU.usd * 3600, "mem_gib_hour_cost": MEMORY.usd * 3600}
        texts = {key: f"{price:.6f}" for key, price in rates.items()}
        return known(api_pb2.WorkspaceBillingRatesResponse, rates=texts, formatted="The price list.")

    async def WorkspaceBillingReport(
        self, request: api_pb2.WorkspaceBillingReportRequest, peer: Container | None
    ) -> AsyncIterator[api_pb2.WorkspaceBillingReportItem]:
        """`workspace.billing.report()`: the cost of each App in each interval, the interval that goes on included."""
        seconds = RESOLUTIONS.get(request.resolution)
        if seconds is None:
            raise Invalid(f"{request.resolution[:40]!r} is no resolution; write d or h.")
        first, end = moment(request.start_timestamp) // seconds, moment(request.end_timestamp)
        if (end / seconds - first) > MOST_INTERVALS:
            raise Invalid(f"The report has more than {MOST_INTERVALS} intervals.")
        costs: defaultdict[tuple[float, str, str], defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
        for row in self._meter.rows:
            for number, dollars in _intervals(row, seconds):
                if first <= number and number * seconds < end:
                    costs[number, str(row["app_id"]), str(row["app"])][str(row["gpu"] or "CPU")] += dollars
        for (number, app, name), parts in sorted(costs.items()):
            item = known(
                api_pb2.WorkspaceBillingReportItem,
                object_id=app,
                description=name,
                environment_name="main",
                cost=f"{sum(parts.values()):.9f}",
                cost_by_resource={resource: f"{dollars:.9f}" for resource, dollars in parts.items()},
            )
            item.interval.FromSeconds(int(number * seconds))
            yield item


def _intervals(row: Row, seconds: int) -> list[tuple[float, float]]:
    """Return the intervals of a container's life by their number, with its cost in each, USD."""
    start = float(str(row["started_at"]))
    end = time.time() if row["ended_at"] is None else float(str(row["ended_at"]))
    price = _price(row["gpu"])
    return [
        (number, price * (min(end, (number + 1) * seconds) - max(start, number * seconds)))
        for number in range(int(start // seconds), int(end // seconds) + 1)
    ]


def _price(gpu: object) -> float:
    """Return USD per second of a container at the price list."""
    if gpu is None:
        return CPU.usd * DEFAULT_CORES + MEMORY.usd * DEFAULT_MEMORY_MIB / 1024
    return GpuSpec.parse(str(gpu), allow_unknown=True).price_per_second or 0.0
