"""A second Python process that takes transfers in and gives them back: the container's side, without the container.

Run as a program it is the far side, which answers pickled requests on its standard streams; `FarSide` is the near end.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modal_gpu_magic.wire.buffers.stores import InlineStore, SharedStore
from modal_gpu_magic.wire.pickles.identity import IdentityTable
from modal_gpu_magic.wire.transfer import Unpacked, prepare, unpack

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Self

    from modal_gpu_magic.wire.buffers.hashing import Hasher
    from modal_gpu_magic.wire.messages.events import Transfer

ROOT = Path(__file__).parents[2]


def new_namespace() -> dict[str, Any]:
    """The globals of a notebook that nothing was run in yet."""
    return {"__name__": "__main__", "__builtins__": __builtins__}


class FarSide:
    """A namespace in another process. Values go and come as transfers; only plain results of `run` do not.

    Args:
        namespace: the near namespace.
        directory: of a shared store; None: buffers travel in the message.
        without: modules that cannot be imported there.
    """

    def __init__(self, namespace: dict[str, Any], directory: Path | None = None, without: Iterable[str] = ()) -> None:
        self.namespace, self.directory = namespace, directory
        self.table = IdentityTable(side=0)
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7", "PYTHONWARNINGS": "default"}
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(directory or ""), *without],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )

    def send(self, *names: str, hasher: Hasher | None = None) -> dict[str, str]:
        """Send names there; returns the ones that failed, with the reason."""
        store = SharedStore(self.directory) if self.directory else InlineStore()
        values = {name: self.namespace[name] for name in names}
        packed = prepare(values, self.namespace, store, hasher, table=self.table)
        failed = dict(self._ask("take", packed.transfer))
        packed.arrived(self.table)
        return failed

    def bring(self, *names: str, hasher: Hasher | None = None) -> Unpacked:
        """Bring names home and bind those that arrived."""
        transfer: Transfer = self._ask("give", names)
        store = SharedStore(self.directory) if self.directory else InlineStore(transfer.inline)
        arrived = unpack(transfer, self.namespace, store, hasher, table=self.table)
        self.namespace.update(arrived.values)
        return arrived

    def run(self, source: str) -> Any:
        """Run statements there, and return what the last line, an expression, is."""
        return self._ask("run", source)

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, *request: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump(request, self._process.stdin)
        self._process.stdin.flush()
        kind, answer = pickle.load(self._process.stdout)
        if kind == "error":
            raise AssertionError(answer)
        return answer


def _answer(request: tuple[Any, ...], namespace: dict[str, Any], directory: str, table: IdentityTable) -> Any:
    action, subject = request
    if action == "run":
        *statements, last = subject.strip().split("\n")
        exec(compile("\n".join(statements), "<cell>", "exec", dont_inherit=True), namespace)
        return eval(last, namespace)
    if action == "give":
        store = SharedStore(directory) if directory else InlineStore()
        packed = prepare({name: namespace[name] for name in subject}, namespace, store, table=table)
        packed.arrived(table)
        return packed.transfer
    store = SharedStore(directory) if directory else InlineStore(subject.inline)
    arrived = unpack(subject, namespace, store, table=table)
    namespace.update(arrived.values)
    return arrived.failed


def _serve(directory: str, without: Iterable[str]) -> None:
    for name in without:
        sys.modules[name] = None  # type: ignore[assignment]  # Python's own way to say: not to be imported
    namespace, table = new_namespace(), IdentityTable(side=1)
    with os.fdopen(os.dup(1), "wb") as answers:
        while True:
            try:
                request = pickle.load(sys.stdin.buffer)
            except EOFError:
                return
            try:
                answer = pickle.dumps(("answer", _answer(request, namespace, directory, table)))
            except Exception:  # noqa: BLE001 - reported to the test
                answer = pickle.dumps(("error", traceback.format_exc()))
            answers.write(answer)
            answers.flush()


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2:])
