"""`config.lr = 0.5` in a cell holds on both sides, whichever side has set it, as in a kernel that runs all cells itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Pair
    from tests.e2e.kernel import Kernel

MODULE = (
    "lr = 0.1\nlayers = [1]\noptions = {}\nsteps = 0\nclass Box: pass\nbox = Box()\n"
    "def everything(): return lr, layers, options, steps\n"
    "def step():\n    global steps\n    steps += 1\n"
)


def made(name: str) -> str:
    return f"N from pathlib import Path\nPath({name!r} + '.py').write_text({MODULE!r});"


CASES = {
    "set in the notebook, then in the container": [
        made("one"),
        "N import one\none.lr = 0.5",
        "R import one\none.lr, one.everything()",
        "R one.lr *= 2; one.layers.append(2); one.options['a'] = 1\none.everything()",
        "N one.everything()",
        "N one.options.update(b=[2]); one.layers = [9]; del one.options['a']",
        "R one.everything()",
    ],
    "set in the container, before the notebook imports the module": [
        made("two"),
        "R import two\ntwo.lr = 7",
        "N two.lr, two.everything()",
        "N setattr(two, 'lr', 8)",
        "R two.everything()",
    ],
    "set in a function of the notebook, by another name": [
        made("three") + "\nimport three as settings\ndef set_up(value): settings.lr = value",
        "N set_up(3)",
        "R print(settings.everything()); set_up(4)",
        "N settings.everything()",
    ],
    "a counter that functions of the module change as well": [
        made("four") + "\nimport four",
        "R four.step(); four.step(); four.steps",
        "R four.steps += 1; four.steps",
        "N four.steps",
        "N four.step()",
        "R print(four.steps); four.step()",
        "N four.steps",
    ],
    "a module in a package": [
        "N from pathlib import Path\nfive = Path('five'); five.mkdir(); (five / '__init__.py').touch()",
        f"N (five / 'config.py').write_text({MODULE!r})",
        "N import five.config\nfive.config.lr = 2",
        "R import five.config\nfive.config.everything()",
        "R from five import config\nconfig.lr, config.layers[0] = 3, 5",
        "N five.config.everything()",
    ],
    "a new attribute, and one that was another object": [
        made("six") + "\nimport six\nsix.extra = 'x'; six.box = 5; six.nested = (1, {'a': {2}})",
        "R six.extra, six.box, six.nested",
        "R six.extra += 'y'; six.box = None",
        "N six.extra, six.box",
    ],
    "under a magic that runs Python": [
        made("seven") + "\nimport seven",
        "N %%capture\nseven.lr = 6",
        "R seven.lr",
        "R %%capture\nseven.lr = 7",
        "N seven.lr",
    ],
    "a dict that was imported by name": [
        made("nine") + "\nfrom nine import options, everything\noptions['a'] = 1",
        "R print(everything())\nfrom nine import options as o\no['b'] = {'c': 2}",
        "N everything()",
        "N options['b']['c'] = 3",
        "R everything()",
    ],
    "an attribute that no cell sets": [
        made("eight") + "\nimport eight\neight.step()",
        "R eight.lr, eight.layers",
        "N eight.steps",
    ],
}


@pytest.mark.parametrize("cells", CASES.values(), ids=CASES.keys())
def test_an_attribute_of_an_own_module_is_the_same_on_both_sides(cells: list[str], pair: Pair) -> None:
    pair.sides(cells)


def test_a_credential_in_a_module_is_not_sent(kernel: Kernel) -> None:
    kernel.run("from pathlib import Path\nPath('keys.py').write_text('api_key = None\\nlr = 1')")
    kernel.run("import keys\nkeys.api_key = 's3cr3t-Value'; keys.lr = 2")
    first = kernel.remote("import keys\nkeys.api_key, keys.lr", "T4")
    assert first.value() == "(None, 2)"
    assert "`keys.api_key`, which a cell has set, is not sent: its name says that it is a credential." in first.said
    assert "not sent" not in kernel.remote("keys.api_key", "T4").said


def test_what_replaces_a_module_hurts_no_cell(kernel: Kernel) -> None:
    kernel.run("from pathlib import Path\nPath('gone.py').write_text('lr = 1')\nimport gone, sys\ngone.lr = 2")
    kernel.run("sys.modules['gone'] = 5")
    assert kernel.remote("6", "T4").value() == "6"
    kernel.run("del sys.modules['gone']")
    assert kernel.remote("7", "T4").value() == "7"


def test_a_new_container_has_what_was_set(kernel: Kernel) -> None:
    kernel.run("from pathlib import Path\nPath('kept.py').write_text('lr = 1')")
    kernel.remote("import kept\nkept.lr = 2", "T4")
    kernel.run("%modal_gpu stop")
    assert kernel.remote("import kept\nkept.lr", "T4").value() == "2"
