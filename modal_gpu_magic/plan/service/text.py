"""The texts about a service: the line below its cell, and its repr. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modal_gpu_magic.catalog import rates
from modal_gpu_magic.line.units import write_duration
from modal_gpu_magic.plan.machine.definition import quote_of
from modal_gpu_magic.plan.machine.quote import UNKNOWN, about, idle_words

if TYPE_CHECKING:
    from modal_gpu_magic.plan.machine.definition import Machine
    from modal_gpu_magic.plan.service.serving import Serving


def started_text(name: str, machine: Machine, serving: Serving, place: str, seconds: float) -> str:
    """Return the line about a started service and its price.

    Args:
        name: name of the service.
        machine: machine of the service.
        serving: settings of the service.
        place: `local`; `simulated`: local without real GPUs; empty: at Modal.
        seconds: duration of the start, seconds.
    """
    where = {"simulated": " simulated on this CPU", "local": " of this machine"}.get(place, "")
    parts = [name, f"{machine.title}{where}"]
    parts += map(str, serving.methods)
    if serving.helpers:
        parts.append(f"{', '.join(serving.helpers)} only inside (Modal: no other method beside a batched one)")
    parts += [f"start {seconds:.1f} s", f"{machine.price_text} per container at Modal"]
    if serving.min_containers:
        parts.append(f"{serving.min_containers} always running, until {name}.stop()")
    parts += [idle_words(machine.per_hour, machine.scaledown), rates.current().words]
    return " · ".join(parts)


def state_text(
    name: str, machine: Machine, serving: Serving, backend: str, state: str | tuple[int, int] | None, seconds: float
) -> str:
    """Return the line about a service at present.

    Args:
        name: name of the service.
        machine: machine of the service.
        serving: settings of the service.
        backend: `cloud` or `local`.
        state: a word such as `stopped`; of a running service the numbers of containers and queued calls; None: unknown.
        seconds: estimated container-seconds until now.
    """
    if isinstance(state, str):
        now = [state]
    else:
        containers, queued = state or (UNKNOWN, UNKNOWN)
        now = [f"containers {containers}", f"queue {queued}"]
    cost = f"{_spent(machine, backend, seconds)} so far ({machine.price_text} per container, {rates.current().words})"
    return " · ".join((name, machine.title, backend, *map(str, serving.methods), *now, cost))


def failed_text(machine: Machine, backend: str, seconds: float) -> str:
    """Return the line about a start that failed in its container: how long the container ran, and its cost.

    Args:
        machine: machine of the service.
        backend: `cloud` or `local`.
        seconds: container-seconds.
    """
    ran = f"its container ran for {write_duration(max(1, round(seconds)))}"
    return " · ".join((machine.title, ran, _spent(machine, backend, seconds), rates.current().words))


def _spent(machine: Machine, backend: str, seconds: float) -> str:
    amount = about(quote_of(machine).cost(seconds))
    return f"free ({amount} on Modal)" if backend == "local" else amount
