"""Functions and a class to call, made anew for each app. Local to a function, so they travel by value, as a cell's do."""

# No `from __future__ import annotations`: modal.parameter reads a class's annotations as types.
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import modal


def make_subjects() -> SimpleNamespace:
    """An app and what is in it, by name."""
    app = modal.App("subjects")

    @app.function(serialized=True)
    @modal.concurrent(max_inputs=8)
    async def many(x: int) -> tuple[int, int]:
        import asyncio
        import os

        await asyncio.sleep(1)
        return x, os.getpid()

    @app.function(serialized=True)
    @modal.batched(max_batch_size=4, wait_ms=60_000)
    def squares(xs: list[int]) -> list[tuple[int, int]]:
        return [(x * x, len(xs)) for x in xs]

    @app.function(serialized=True, retries=modal.Retries(max_retries=2, initial_delay=0.0, backoff_coefficient=1.0))
    def flaky(path: str, succeed_at: int, how: str = "raise") -> int:
        import os
        import time
        from pathlib import Path

        counter = Path(path)
        while how == "wait" and not counter.with_suffix(".go").exists():
            time.sleep(0.01)
        attempt = len(counter.read_text()) if counter.exists() else 0
        counter.write_text("x" * (attempt + 1))
        if attempt < succeed_at:
            if how == "exit":
                os._exit(3)
            if how == "sleep":
                time.sleep(300)
            raise RuntimeError(f"attempt {attempt}")
        return attempt

    @app.function(serialized=True)
    def outer(x: int) -> int:
        return int(many.remote(x)[0]) * 10  # type: ignore[index]  # the SDK has it as a coroutine

    return SimpleNamespace(
        app=app,
        many=many,
        squares=squares,
        flaky=flaky,
        outer=outer,
        Box=app.cls(serialized=True, max_containers=1, scaledown_window=600)(make_box()),
    )


def add_meeting(app: modal.App) -> Any:
    """A function whose inputs wait until so many of them are in its one container."""

    @app.function(serialized=True, max_containers=1)
    @modal.concurrent(max_inputs=8)
    async def meet(count: int) -> int:
        import asyncio
        import builtins
        import os

        present, are_all_here = vars(builtins).setdefault("mgm_meeting", ([], asyncio.Event()))
        present.append(count)
        if len(present) == count:
            are_all_here.set()
        await are_all_here.wait()
        return os.getpid()

    return meet


def add_ranks(app: modal.App) -> Any:
    """A function on two nodes, which talk to each other and have the directory `place`.

    With `fail`, one fails while the other would go on.
    """

    @app.function(serialized=True, gpu="H100:8")
    @modal.clustered(size=2)
    def ranks(x: int, place: str = "", fail: bool = False) -> tuple[Any, ...]:
        import os
        import socket
        import subprocess
        import time
        from pathlib import Path

        import modal

        cluster = modal.Cluster.from_context()
        rank, ips, ipv4 = cluster.container_rank(), cluster.container_ips(), cluster.container_ips(family="ipv4")
        assert modal.experimental.get_cluster_info().container_ips == ips
        assert cluster.container_ids()[rank] == os.environ["MODAL_TASK_ID"]
        assert os.environ["NCCL_HOSTID"].endswith(ips[rank])
        gpus = len(subprocess.check_output(["nvidia-smi", "-L"]).splitlines())
        ready = Path(place, "port")
        if fail and rank == 1:
            raise ValueError("rank 1 has failed")
        if fail:
            time.sleep(300)
        if rank == 1:  # bound to its own address, and reached there by both
            with socket.create_server((ipv4[1], 0)) as server:
                ready.with_name("part").write_text(str(server.getsockname()[1]))
                ready.with_name("part").replace(ready)
                for _ in ips:
                    server.accept()[0].close()
            return ()
        while not ready.exists():
            time.sleep(0.01)
        port = int(ready.read_text())
        for host in (ipv4[1], ips[1]):
            while socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET).connect_ex((host, port)):
                time.sleep(0.05)
        return x, rank, ips, ipv4, gpus

    return ranks


def make_box() -> type:
    """A class with state, whose instances run any source."""

    class Box:
        name: str = modal.parameter(default="box")

        @modal.enter()
        def start(self) -> None:
            import os

            self.count, self.pid, self.farewell = 0, os.getpid(), ""

        @modal.method()
        def add(self, by: int = 1) -> tuple[int, int, str]:
            self.count += by
            return self.count, self.pid, self.name

        @modal.method()
        def stream(self, items: int) -> Iterator[tuple[int, str | None]]:
            for number in range(items):
                self.count += 1
                yield number, modal.current_function_call_id()

        @modal.method()
        def run(self, source: str, /, **names: Any) -> Any:
            """Run statements; the value is that of `result`."""
            scope: dict[str, Any] = {"self": self, **names}
            exec(source, scope)
            return scope.get("result")

        @modal.exit()
        def stop(self) -> None:
            import pathlib

            if self.farewell:
                pathlib.Path(self.farewell).write_text(self.name)

    return Box
