"""`--nodes` in a notebook: nodes are containers with their own addresses; the ordinary session lives on beside them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.detached_user import wait_until
from tests.e2e.kernel import Kernel
from tests.e2e.test_ranks import ranks_of

TWO = "H100:8 --nodes 2"

pytestmark = pytest.mark.timeout(300)
"""Ranks import torch, each by itself: on a busy machine that takes its time."""


@pytest.fixture(scope="module", autouse=True)
def _session(kernel: Kernel) -> Iterator[None]:
    """An ordinary session that has a variable of its own, which it has still when all tests are through."""
    assert kernel.remote("lives = open('/dev/null')\nlarge = bytearray(2_000_000)", "H100 --fetch 1MB").ok
    yield
    wait_until(lambda: ranks_of(kernel) == [])
    result = kernel.remote("lives.name, len(large)", "")
    assert result.value() == "('/dev/null', 2000000)"


def test_a_cell_runs_once_a_node_and_knows_its_cluster(kernel: Kernel) -> None:
    source = (
        "import modal, modal.experimental\n"
        "cluster, told = modal.Cluster.from_context(), modal.experimental.get_cluster_info()\n"
        "assert told.rank == cluster.container_rank() and told.cluster_id == cluster.object_id\n"
        "assert cluster.container_ips() == told.container_ips\n"
        "ids = cluster.container_ids()\n"
        "print('node', told.rank, 'of', len(ids), sent)\n"
        "addresses = cluster.container_ips()\n"
        "del cluster, told, modal\n"
        "len(set(addresses))\n"
    )
    kernel.run("sent = ['from here']")
    result = kernel.remote(source, f"{TWO} --ranks all")
    assert result.ok, result.traceback
    assert result.value() == "2"
    assert "node 0 of 2 ['from here']" in result.stdout
    assert "[rank 1] node 1 of 2 ['from here']" in result.stdout
    assert "2 x H100:8" in result.said
    assert kernel.print("len(set(ids))") == "2"


def test_the_gpus_of_every_node_are_read(kernel: Kernel) -> None:
    wait = (
        "import time\n"
        "read = get_ipython().run_line_magic('modal_gpu', 'metrics default.cluster')\n"
        "limit = time.monotonic() + 60\n"
        "while {sample.node for sample in read.latest} != {0, 1} and time.monotonic() < limit:\n"
        "    time.sleep(0.1)\n"
        "sorted({(sample.node, sample.index) for sample in read.latest}) == [(n, i) for n in (0, 1) for i in range(8)]"
    )
    assert kernel.run(wait, timeout=90).value() == "True"


def test_a_cluster_forgets_between_cells(kernel: Kernel) -> None:
    source = "import os, sys\nseen, sys.flag = getattr(sys, 'flag', None), 1"
    for _ in range(2):
        assert kernel.remote(source, TWO).ok
        assert kernel.print("seen") == "None"


def test_what_a_node_failed_with_is_raised(kernel: Kernel) -> None:
    """Node 0 waits for a node that fails: the failure ends both, soon."""
    source = (
        "import modal, time\n"
        "print('before', flush=True)\n"
        "if modal.Cluster.from_context().container_rank() == 1:\n"
        "    {}['missing']\n"
        "time.sleep(600)\n"
    )
    result = kernel.remote(source, f"{TWO} --ranks 1")
    assert result.error == "KeyError: 'missing'"
    assert "line 5" in result.traceback
    assert "(node 1 of 2)" in result.traceback
    assert "[rank 1] before" in result.stdout
    assert kernel.remote("1 + 1", TWO).value() == "2"


def test_stop_ends_all_nodes(kernel: Kernel) -> None:
    source = (
        "import os, time\nreached = 'the wait'\nprint('node', os.environ['GROUP_RANK'], flush=True)\ntime.sleep(600)"
    )
    result = kernel.remote(source, TWO, press=["node 0"])
    assert result.reply.get("ename") == "KeyboardInterrupt"
    assert kernel.print("reached") == "the wait"
    wait_until(lambda: ranks_of(kernel) == [])


def test_what_does_not_come_home_is_gone_and_says_so(kernel: Kernel) -> None:
    result = kernel.remote("wide = bytearray(3_000_000)\nsmall = 1", f"{TWO} --fetch 1MB")
    assert result.ok
    assert kernel.print("small") == "1"
    assert "--out wide" in kernel.run("wide[0]").error
    assert "--out wide" in kernel.remote("wide", "").error


def test_a_value_that_lives_in_a_session_is_refused(kernel: Kernel) -> None:
    result = kernel.remote("len(large)", TWO)
    assert "Cannot send `large`" in result.error
    assert "large.fetch()" in result.error


def test_nodes_reach_each_other_by_torchrun(kernel: Kernel) -> None:
    """With gloo, each at its own address. Notebook 03 trains on two nodes of two processes."""
    source = (
        "def meet():\n"
        "    import os, torch, torch.distributed as dist\n"
        "    dist.init_process_group('gloo')\n"
        "    ranks = torch.tensor([float(dist.get_rank() + 1)])\n"
        "    dist.all_reduce(ranks)\n"
        "    print('rank', os.environ['RANK'], 'of', os.environ['WORLD_SIZE'], 'on', os.environ['GROUP_RANK'])\n"
        "    dist.destroy_process_group()\n"
        "    return ranks.item(), os.environ['MASTER_ADDR']\n"
        "total, master = meet()\n"
        "total\n"
    )
    result = kernel.remote(source, f"{TWO} --torchrun 1 --ranks 1", timeout=250)
    assert result.ok, result.traceback
    assert result.value() == "3.0"
    assert "rank 0 of 2 on 0" in result.stdout
    assert "[rank 1] rank 1 of 2 on 1" in result.stdout
    assert kernel.print("master").startswith("127.")
