"""Headers that change the machine of a session: nothing is lost, spent or forgotten before the user knows."""

from __future__ import annotations

import threading

import pytest

from tests.cloud.gates import Gates
from tests.e2e.kernel import Kernel

BUILDING = ("ImageGetOrCreate", "ImageJoinStreaming")
NOTES_IDLE_TIME = """
from modal_gpu_magic.session.facade import Session
keep_warm = Session.keep_warm
Session.keep_warm = lambda *a: (keep_warm(*a), open({!r}, "w").close())[0]
"""
"""Makes a kernel write a file once it has chosen the idle time of a session."""
SESSIONS = "get_ipython().magics_manager.magics['cell']['modal_gpu'].__self__.state.sessions"


@pytest.fixture
def kernel(gated: Kernel) -> Kernel:
    return gated


def image(kernel: Kernel, *packages: str) -> None:
    assert kernel.run(f"import modal\nimage = modal.Image.debian_slim().pip_install(*{packages!r})").ok


def test_a_header_that_would_end_what_its_cell_reads_is_refused_and_loses_nothing(kernel: Kernel) -> None:
    assert kernel.remote("big, other = [0] * 10, [1]", "T4 --fetch 0").ok
    refused = kernel.remote("big.append(1)", "A100")
    assert refused.error == (
        "LostValueError: the cell reads big, which only the container of T4 has, and this header ends that container: "
        "--move carries values over, --session NAME keeps both machines; or run big = big.fetch() first."
    )
    assert kernel.remote("len(big)", "T4").value() == "10"
    moved = kernel.remote("big.append(1); print(len(big), other)", "A100 --move")
    assert moved.stdout == "11 [1]\n"


def test_a_detached_session_has_the_machine_that_was_chosen_for_the_notebook(kernel: Kernel) -> None:
    assert kernel.run("%modal_gpu use L4 --env CHOSEN=1").ok
    detached = kernel.remote("import os\nprint(os.environ.get('CHOSEN'))", "--detach")
    assert detached.stdout == "1\n"
    assert "L4 simulated" in detached.said
    assert kernel.run("%modal_gpu stop --all").ok


def test_another_image_may_be_chosen_while_the_first_one_is_built(kernel: Kernel, gates: Gates) -> None:
    for name in BUILDING:
        gates.close(name)
    image(kernel, "einops")
    first = kernel.remote("1", "T4 --image image", press=[lambda: any(map(gates.reached, BUILDING))], timeout=60)
    assert first.error.startswith("KeyboardInterrupt: stopped")
    image(kernel, "einops", "tqdm")
    for name in BUILDING:
        threading.Timer(1.0, gates.open, (name,)).start()
    assert kernel.remote("6 * 7", "T4 --image image", timeout=90).value() == "42"


def test_a_press_ends_the_wait_for_the_image_of_a_changed_header(kernel: Kernel, gates: Gates) -> None:
    image(kernel, "einops")
    assert kernel.remote("kept = [1]", "T4 --image image --fetch 0").ok
    image(kernel, "einops", "tqdm")
    gates.close(BUILDING[0])
    stopped = kernel.remote("1", "T4 --image image", press=[lambda: gates.reached(BUILDING[0])], timeout=60)
    assert stopped.error == (
        "KeyboardInterrupt: stopped while the image was built; the session has its machine as before"
    )
    gates.open(BUILDING[0])
    assert kernel.remote("kept", "").value() == "[1]"


def test_an_idle_time_that_is_chosen_while_the_app_opens_is_that_of_its_container(kernel: Kernel, gates: Gates) -> None:
    gates.close(BUILDING[0])
    pressed = [lambda: gates.reached(BUILDING[0])]
    assert kernel.remote("1", "T4", press=pressed, timeout=60).error.startswith("KeyboardInterrupt")
    gates.forget("FunctionUpdateSchedulingParams")
    chosen = kernel.home / "chosen"
    assert kernel.run(NOTES_IDLE_TIME.format(str(chosen))).ok
    again = kernel.remote("1", "T4 --keep-warm 20m", press=[(chosen.exists, 0.5)], timeout=60)
    assert again.error.startswith("KeyboardInterrupt")
    gates.open(BUILDING[0])
    assert kernel.remote("1", "T4", timeout=60).ok
    assert gates.passed("FunctionUpdateSchedulingParams")
    assert kernel.run(f"{SESSIONS}['default'].machine.scaledown").value() == "1200"
