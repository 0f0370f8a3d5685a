"""The texts of a service: the line at its cell's end, and its repr. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modal_gpu_magic.plan.machine.definition import quote_of
from modal_gpu_magic.plan.machine.quote import UNKNOWN, dollars, idle_words, rate

if TYPE_CHECKING:
    from modal_gpu_magic.plan.machine.definition import Machine
    from modal_gpu_magic.plan.service.serving import Serving


def started_text(name: str, machine: Machine, serving: Serving, place: str, seconds: float) -> str:
    """What is served from now on, and what it costs.

    Args:
        name: its name.
        machine: its machine.
        serving: how it is served.
        place: `local`; `simulated` where its GPUs are not there; empty at Modal.
        seconds: what the start took.
    """
    price = quote_of(machine)
    parts = [name, machine.title]
    if place == "simulated":
        parts += ["local", "CPU", f"{machine.title} simulated"]
    elif place:
        parts.append(place)
    parts += map(str, serving.methods)
    if serving.helpers:
        parts.append(f"{', '.join(serving.helpers)} only inside (Modal: no other method beside a batched one)")
    parts += [f"start {seconds:.1f} s", f"{rate(price.per_hour)} a container at Modal"]
    if serving.min_containers:
        parts.append(f"{serving.min_containers} always there, until {name}.stop()")
    parts += [idle_words(price, machine.scaledown), f"prices of {price.date}"]
    return " · ".join(parts)


def state_text(
    name: str, machine: Machine, serving: Serving, backend: str, state: str | tuple[int, int] | None, seconds: float
) -> str:
    """A service now.

    Args:
        name: its name.
        machine: its machine.
        serving: how it is served.
        backend: `cloud` or `local`.
        state: `stopped` and the like; of one that runs its containers and queued calls, or None: Modal does not say.
        seconds: container-seconds until now, estimated.
    """
    price = quote_of(machine)
    if isinstance(state, str):
        now = [state]
    else:
        containers, queued = state or (UNKNOWN, UNKNOWN)
        now = [f"containers {containers}", f"queue {queued}"]
    where = "free here, at Modal about" if backend == "local" else "about"
    spent = f"{where} {dollars(price.cost(seconds))} so far"
    cost = f"{spent} ({rate(price.per_hour)} a container, prices of {price.date})"
    return " · ".join((name, machine.title, backend, *map(str, serving.methods), *now, cost))
