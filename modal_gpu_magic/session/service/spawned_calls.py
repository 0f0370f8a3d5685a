"""Wait for spawned calls: one thread awaits all of them, so that each counts to its end if nobody asks for a result."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import Future

    from modal_gpu_magic.session.service.usage import Usage


def awaited(call: Any, usage: Usage) -> Future[Any]:
    """Return the future of a spawned call's result, and count the call as running until then."""
    running = contextlib.ExitStack()
    running.enter_context(usage.use())
    result = asyncio.run_coroutine_threadsafe(_result(call), _loop())
    result.add_done_callback(lambda _: running.close())
    return result


async def _result(call: Any) -> Any:
    return await call.get.aio()


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    """Return the running event loop of the thread."""
    from modal_gpu_magic.sdk.app import FOLLOWERS

    loop = asyncio.new_event_loop()
    FOLLOWERS.run(loop.run_forever)
    return loop
