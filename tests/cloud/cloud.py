"""A cloud behind a network link: a control plane of its own process, reached over a proxy, as Modal is over the internet.

No directory is shared with the kernel, and payloads above Modal's limits go over HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from grpclib.client import Channel
from modal_proto.api_grpc import ModalClientStub
from yarl import URL

from tests.cloud.gates import Gates
from tests.cloud.proxy import HOST, Link, Proxy
from tests.cloud.server import AT_START

SOURCES: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Cloud:
    """A running cloud.

    Attributes:
        proxy: the network between the kernel and the cloud.
        gates: RPCs that wait or fail.
        environ: variables with which the SDK, and this package's backend `cloud`, reach the cloud.
    """

    proxy: Proxy
    gates: Gates
    environ: dict[str, str]

    def ask(self, rpc: str, request: Any) -> Any:
        """Send a request as somebody else with this account does: in Modal's dashboard, or by its command."""
        return asyncio.run(self._ask(rpc, request))

    async def _ask(self, rpc: str, request: Any) -> Any:
        address, token = URL(self.environ["MODAL_SERVER_URL"]), ("MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET")
        metadata = {f"x-{name.lower().replace('_', '-')}": self.environ[name] for name in token}
        async with Channel(address.host, address.port) as channel:
            return await getattr(ModalClientStub(channel), rpc)(request, metadata=metadata)


PERFECT: Final = Link()
"""A link without delay and without a limit."""


@contextlib.contextmanager
def cloud(link: Link = PERFECT, *, clock: float = 0.0) -> Iterator[Cloud]:
    """Run a cloud behind a link.

    Args:
        link: the network.
        clock: seconds by which the clocks of containers are ahead of the kernel's.
    """
    with tempfile.TemporaryDirectory() as folder, Proxy(link) as proxy:
        port, blob_port = proxy.listen(), proxy.listen()
        path = os.pathsep.join([str(AT_START), str(SOURCES), os.environ.get("PYTHONPATH", "")])
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.cloud.server", f"http://{HOST}:{blob_port}/", str(clock)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            cwd=SOURCES,
            env={**os.environ, "PYTHONPATH": path, "TEST_GATES": folder},
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            hello = json.loads(process.stdout.readline())
            proxy.lead(port, hello["port"])
            proxy.lead(blob_port, hello["blob_port"])
            yield Cloud(
                proxy,
                Gates(Path(folder)),
                {
                    "MODAL_GPU_BACKEND": "cloud",
                    "MODAL_SERVER_URL": f"http://{HOST}:{port}",
                    "MODAL_TOKEN_ID": hello["token_id"],
                    "MODAL_TOKEN_SECRET": hello["token_secret"],
                    "MODAL_DISABLE_API_PROXY": "1",
                },
            )
        finally:
            process.stdin.close()
            process.wait(60)
            process.stdout.close()
