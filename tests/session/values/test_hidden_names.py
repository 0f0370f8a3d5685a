"""Names of IPython's own (`exit`, `get_ipython`): they hold the kernel, are never sent, and so are not looked through."""

from __future__ import annotations

from typing import Any

import pytest

from modal_gpu_magic.plan.cell.names import analyse
from modal_gpu_magic.session.values.sync import TransferOptions, Values
from tests.session.two_memories import new_namespace


class Kernel:
    """What `exit` of IPython is to us: an object whose parts are the whole kernel."""

    def __init__(self, part: Any) -> None:
        self.part, self.pickled = part, 0

    def __call__(self) -> None:
        """Be called by a cell."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        self.pickled += 1
        return super().__reduce_ex__(protocol)


@pytest.fixture
def namespace() -> dict[str, Any]:
    """A notebook with a name of IPython's, which holds a function of the notebook, and two of the user's."""
    namespace = new_namespace()
    exec("def helper(): return 1\nx = [1, 2]", namespace)
    namespace["exit"] = Kernel(namespace["helper"])
    return namespace


@pytest.mark.parametrize(
    "source, sent",
    [
        ("eval(input())", ["helper", "x"]),
        ("[v for v in globals().values()]", ["helper", "x"]),
        ("exit()\nx", ["x"]),
        ("exit()", []),
        ("def call(): return exit()\ncall()", []),
    ],
)
def test_they_are_neither_measured_nor_followed(namespace: dict[str, Any], source: str, sent: list[str]) -> None:
    values = Values("s", namespace, {"exit": namespace["exit"]})
    assert list(values.outgoing(analyse(source), TransferOptions()).values) == sent
    assert not namespace["exit"].pickled


@pytest.mark.parametrize("source", ["eval(input())", "exit"])
def test_one_that_the_user_bound_anew_is_the_user_s(namespace: dict[str, Any], source: str) -> None:
    values = Values("s", namespace, {"exit": namespace["exit"]})
    namespace["exit"] = [3]
    assert "exit" in values.outgoing(analyse(source), TransferOptions()).values
