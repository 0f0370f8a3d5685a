"""`modal run` of scripts after Modal's public examples: what they print, or the sentence that refuses them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.control_plane.plane import run_command

EXAMPLES = Path(__file__).parent / "examples"

PRINTED = {
    "grid_search": "9 candidates, best: (0.1, 3)",
    "failures_in_a_map": "['float', 'ZeroDivisionError', 'float']",
    "cluster": "sum of all ranks: 3.0",
    "checkpoints": "began at 0 and at 5\nin the Volume: 10 ['last']",
    "cache": "3: computed 9\n3: found 9\n4: computed 16\n2 nothing [3, 4]",
    "crawler": "['a1', 'a2', 'b1', 'b2']",
    "schedules": "often mornings",
    "batching": str([(letter.upper(), 4) for letter in "abcdefgh"]),
    "retries": "done at try 3",
    "warm_model": "large a 1 and large b 2\nGPU 0: NVIDIA L4 and GPU 0: Tesla T4\nsomebody and nobody",
    "streaming": "one-two-three\n[0, 10, 20, 30]",
    "slow": "too slow: FunctionTimeoutError",
}
REFUSED = {
    "web_endpoint": "The local backend does not support web endpoints. Use `--backend cloud`.",
    "sandbox": "The local backend does not support Sandboxes",
    "wrong_schedule": "The cron line '0 9 * *' has 4 fields instead of 5.",
}


def test_every_example_is_run() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == PRINTED.keys() | REFUSED.keys()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", PRINTED)
def test_what_is_printed(name: str, places: dict[str, str]) -> None:
    ran = run_command(places, "modal", "run", "-q", f"{name}.py", cwd=EXAMPLES)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert PRINTED[name] in ran.stdout


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, places: dict[str, str]) -> None:
    ran = run_command(places, "modal", "run", "-q", f"{name}.py", cwd=EXAMPLES)
    assert ran.returncode != 0
    assert REFUSED[name] in " ".join(ran.stderr.replace("│", " ").split())
    assert "never" not in ran.stdout
