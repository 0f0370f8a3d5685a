"""The process around the values, where a case takes a container of its own, or another look than a comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.kernel import Kernel

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def bare() -> Iterator[Kernel]:
    """A native kernel in which nothing is set yet."""
    with Kernel() as kernel:
        yield kernel


def test_numbers_go_on_where_a_library_is_not_imported_yet(bare: Kernel, fresh: Kernel) -> None:
    """A native kernel has one generator; here torch and numpy are imported on one side long before the other."""
    cells = [
        "R import torch, numpy as np\ntorch.manual_seed(1); np.random.seed(1)\ntorch.rand(2), np.random.rand()",
        "R torch.set_default_dtype(torch.float64); np.set_printoptions(precision=2)",
        "N import sys\ntorch_is_here = 'torch' in sys.modules",
        "N import torch, numpy as np\ntorch.rand(2), np.random.rand(2)",
        "R torch.rand(2), np.random.rand(2)",
        "N torch.set_default_dtype(torch.float32); np.set_printoptions(precision=8)",
        "R torch.rand(1)",
    ]
    for cell in cells:
        place, source = cell[0], cell[2:]
        here = fresh.run(source) if place == "N" else fresh.remote(source, "T4")
        there = bare.run(source)
        assert (here.reply["status"], [b["text/plain"] for b in here.bundles()]) == (
            there.reply["status"],
            [b["text/plain"] for b in there.bundles()],
        )


def test_options_wait_for_an_import_there(fresh: Kernel) -> None:
    set_here = (
        "import numpy as np, pandas as pd, matplotlib as mpl, torch, random\nnp.random.seed(2); torch.manual_seed(2)\n"
        "np.set_printoptions(precision=2); pd.set_option('display.max_rows', 7); mpl.rcParams['font.size'] = 33\n"
        "torch.set_default_dtype(torch.float64)"
    )
    assert fresh.run(set_here).ok
    read = (
        "import sys\nbefore = [m for m in ('torch', 'matplotlib', 'pandas') if m in sys.modules]\n"
        "def look():\n    import torch, numpy, pandas, matplotlib\n"
        "    return (torch.zeros(1).dtype, numpy.array([1.234]), pandas.get_option('display.max_rows'),\n"
        "            matplotlib.rcParams['font.size'], numpy.random.rand(), torch.rand(1).item())\n"
        "before, look()"
    )
    there = " ".join(fresh.remote(read, "T4").value().split())
    numbers = "0.43599490214200376, 0.9175606656465919"  # numpy's and torch's first after the seed 2
    assert there == f"([], (torch.float64, array([1.23]), 7, 33.0, {numbers}))"


def test_a_new_container_gets_all_of_it_again(fresh: Kernel) -> None:
    fresh.run(
        "import random, os, numpy as np\nrandom.seed(3); os.environ['MGT_AGAIN'] = '1'; np.set_printoptions(precision=3)"
    )
    first = "import random, os, numpy as np\nrandom.random(), os.environ.get('MGT_AGAIN'), np.array([0.12345])"
    assert fresh.remote(first, "T4").value() == "(0.23796462709189137, '1', array([0.123]))"
    fresh.remote("os.environ['MGT_THERE'] = '2'", "T4")
    fresh.run("%modal_gpu stop")
    again = fresh.remote(
        "random.random(), os.environ.get('MGT_AGAIN'), os.environ.get('MGT_THERE'), np.array([0.12345])", "T4"
    )
    assert again.value() == "(0.5442292252959519, '1', '2', array([0.123]))"


def test_two_sessions_share_one_process(fresh: Kernel) -> None:
    fresh.run("import random\nrandom.seed(4)\nexpected = [random.random() for _ in range(4)]\nrandom.seed(4)")
    one = fresh.remote("a = random.random()", "T4 --session one")
    two = fresh.remote("b = random.random()", "T4 --session two")
    assert one.ok, one.traceback
    assert two.ok, two.traceback
    fresh.run("c = random.random()")
    fresh.remote("d = random.random()", "T4 --session one")
    assert fresh.print("[a, b, c, d] == expected") == "True"


def test_a_credential_stays_and_is_named_once(fresh: Kernel) -> None:
    fresh.run("import os\nos.environ['HF_TOKEN'] = 'hf_' + 'a' * 30\nos.environ['MGT_PLAIN'] = 'yes'")
    look = "import os\nos.environ.get('HF_TOKEN'), os.environ.get('MGT_PLAIN')"
    first = fresh.remote(look, "T4")
    assert first.value() == "(None, 'yes')"
    assert "The kernel's environment variable HF_TOKEN is not sent: " in first.said
    assert "--env HF_TOKEN sends it" in first.said
    assert "HF_TOKEN" not in fresh.remote(look, "T4").said
    assert fresh.remote(look, "T4 --in HF_TOKEN").value() == f"('hf_{'a' * 30}', 'yes')"


def test_gpu_numbers_of_this_machine_stay(fresh: Kernel) -> None:
    fresh.run("import os\nos.environ['CUDA_VISIBLE_DEVICES'] = '3'")
    first = fresh.remote("import os\nos.environ.get('CUDA_VISIBLE_DEVICES') == '3'", "T4")
    assert first.value() == "False"
    assert "The kernel's environment variable CUDA_VISIBLE_DEVICES is not sent: the numbers of GPUs" in first.said


def test_folders_of_the_notebook_are_folders_of_the_container(fresh: Kernel) -> None:
    fresh.run("import os, sys\nsys.path.append(os.path.abspath('lib'))")
    assert fresh.remote("import os, sys\nsys.path[-1] == os.path.join(os.getcwd(), 'lib')", "T4").value() == "True"
    fresh.remote("sys.path.insert(0, os.path.abspath('src'))", "T4")
    assert fresh.print(
        "sys.path[0] == os.path.abspath('src'), 'lib' in sys.path[-1], any('mgm' in p for p in sys.path)"
    ) == ("True True False")


@pytest.mark.parametrize("folder", ["lib", "/opt/mgt"], ids=["relative", "absolute"])
def test_a_folder_of_the_import_path_hides_no_module_of_the_first_cell(fresh: Kernel, folder: str) -> None:
    """A container's own folders of modules stay on the path when the notebook's path is set."""
    made = (
        "package = Path('package'); package.mkdir(); (package / '__init__.py').write_text('from package.one import f')"
    )
    fresh.run(f"from pathlib import Path\n{made}; (package / 'one.py').write_text('def f(): return 1')")
    fresh.run(f"import sys\nsys.path.insert(0, {folder!r})")
    first = fresh.remote(
        "import sys\nfrom package import f\nimport package.one as one\nf(), one.f is f, sys.path[0]", "T4"
    )
    assert first.value() == f"(1, True, {folder!r})"
    assert fresh.remote("from package import f\nf(), sys.path[0]", "T4").value() == f"(1, {folder!r})"
    assert fresh.print("sys.path[0], any('mgm' in p for p in sys.path)") == f"{folder} False"


def test_what_is_inherited_is_nobodys_change(fresh: Kernel) -> None:
    fresh.remote("1", "T4")
    known = "get_ipython().magics_manager.magics['cell']['modal_gpu'].__self__.state.sessions['default'].process._known"
    assert fresh.print(f"sorted({known}), {known}.get('environment')") == "['random', 'warnings'] None"


@pytest.mark.timeout(300)
def test_ranks_begin_with_it_and_rank_0_brings_it_home(fresh: Kernel) -> None:
    fresh.run("import random, os\nrandom.seed(5); os.environ['MGT_RANKS'] = 'r'")
    fresh.run("expected = [random.random() for _ in range(3)]; random.seed(5)")
    cell = "import random, os\na = random.random(); os.environ['MGT_OF'] = os.environ['RANK']\nprint(os.environ['MGT_RANKS'])"
    ran = fresh.remote(cell, "T4:2 --torchrun", timeout=200)
    assert ran.ok, ran.traceback
    assert ran.stdout == "r\n"
    fresh.run("b = random.random()")
    fresh.remote("c = random.random()", "T4")
    assert fresh.print("[a, b, c] == expected, os.environ['MGT_OF'], 'RANK' in os.environ") == "True 0 False"
