"""Hashes of text: both sides have the same ones if the kernel's environment fixes their seed when it starts."""

from __future__ import annotations

import pytest

from tests.e2e.kernel import Kernel

T4 = "T4"
HASHES = "hash('text'), hash(b'bytes'), list({'one', 'two', 'three', 'four'}), list(frozenset('letters'))"
SEED = "PYTHONHASHSEED"
AT_START = f"""
from pathlib import Path
[each for each in Path("/proc/self/environ").read_bytes().split(b"\\0") if each.startswith(b"{SEED}")]
"""
CHILD = "import subprocess, sys\nsubprocess.check_output([sys.executable, '-c', 'print(hash(\"text\"))'])"
FOLDER = """
from pathlib import Path
str(Path(Path("/proc/self/cmdline").read_text().split("\\0")[0]).parents[2])
"""


@pytest.mark.parametrize("seed", ["0", "123"])
def test_the_container_has_the_seed_of_the_kernel(seed: str) -> None:
    with Kernel(env={SEED: seed}) as kernel:
        kernel.load()
        assert kernel.remote(FOLDER, T4).value().endswith("/f0'"), "the first fork server was started with it"
        for source in (HASHES, CHILD, f"import os\nos.environ['{SEED}']", AT_START):
            assert kernel.remote(source, T4).value() == kernel.run(source).value(), source
        by_ranks = kernel.remote(f"print(({HASHES}))", "T4 --torchrun", timeout=150)
        assert by_ranks.stdout.strip() == kernel.print(f"({HASHES})")
        kernel.run("%modal_gpu stop")
        assert kernel.remote(HASHES, T4).value() == kernel.run(HASHES).value(), "in the next container"
        asked = kernel.remote(AT_START, f"T4 --env {SEED}=7")
        assert asked.value() == f"[b'{SEED}=7']", asked.said


@pytest.mark.parametrize("seed", [{}, {SEED: "random"}], ids=["not set", "random"])
def test_without_a_seed_the_container_has_none_either(seed: dict[str, str]) -> None:
    with Kernel(env=seed) as kernel:
        kernel.load()
        # Programs that fix all seeds set the variable as well: natively it is for child processes only.
        assert kernel.run(f"import os\nos.environ['{SEED}'] = '5'").ok
        assert kernel.remote(FOLDER, T4).value().endswith("/f0'")
        assert kernel.remote(AT_START, T4).value() == "[]"
        assert kernel.remote(CHILD, T4).value() == kernel.run(CHILD).value()
