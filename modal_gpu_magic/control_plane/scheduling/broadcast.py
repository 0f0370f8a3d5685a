"""Broadcast to waiting coroutines. Not sticky: a coroutine that waits later gets the next broadcast."""

from __future__ import annotations

import asyncio


class Broadcast:
    """Broadcast wake-up for the coroutines of one event loop."""

    __slots__ = ("_next_ring",)

    def __init__(self) -> None:
        self._next_ring: asyncio.Future[None] | None = None

    def notify(self) -> None:
        """Wake all coroutines that wait now."""
        if self._next_ring is not None and not self._next_ring.done():
            self._next_ring.set_result(None)
        self._next_ring = None

    async def wait(self, timeout: float | None = None) -> bool:
        """Wait for the next broadcast, at most `timeout` seconds. Returns False on timeout."""
        if self._next_ring is None:
            self._next_ring = asyncio.get_running_loop().create_future()
        done, _ = await asyncio.wait((self._next_ring,), timeout=timeout)
        return bool(done)
