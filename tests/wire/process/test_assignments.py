"""Which attributes of which modules and classes a cell's text sets."""

from __future__ import annotations

import os
import sys
import types
from typing import Any

import numpy as np
import pytest

from modal_gpu_magic.wire.process.assignments import assignments
from modal_gpu_magic.wire.values.library_modules import is_own


def module(name: str, /, **attributes: Any) -> types.ModuleType:
    made = types.ModuleType(name)
    made.__file__ = f"/home/user/{name.replace('.', '/')}.py"
    made.__dict__.update(attributes)
    return made


class Settings(types.ModuleType):
    """A module that keeps its settings elsewhere, as `torch._dynamo.config`."""

    def __getattr__(self, name: str) -> Any:
        if name not in ("lr", "group.size"):
            raise AttributeError(name)
        return 1

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(name)


CONFIG = module("config", lr=1, layers=[1], options={}, name="a", box=object())
HERE = type("Here", (), {"__module__": "somewhere"})
CONFIG.Box = HERE  # type: ignore[attr-defined]
NAMES = {
    "o": CONFIG.options,
    "box": CONFIG.box,
    "other": {},
    "config": CONFIG,
    "c": CONFIG,
    "settings": Settings("settings"),
    "package": module("package", config=module("package.config")),
    "np": np,
    "Here": HERE,
    "x": 1,
}

TEXTS = {
    "config.lr = 1": {"config lr"},
    "c.lr += 1": {"config lr"},
    "config.lr: float = 1": {"config lr"},
    "config.lr, config.new = 1, 2": {"config lr", "config new"},
    "for config.i in range(3): pass": {"config i"},
    "with open('f') as config.file: pass": {"config file"},
    "def f():\n    config.lr = 1": {"config lr"},
    "config.options['a'] = 1": {"config options"},
    "del config.options['a']": {"config options"},
    "config.layers[0] += 1": {"config layers"},
    "config.options['a']['b'].c = 1": {"config options"},
    "config.box.size = 1": {"config box"},
    "config.box.update(1)": set(),
    "del config.lr": {"config lr"},
    "from config import options as o\no['a'] = 1": {"config options"},
    "from config import box\nbox.size = 1": {"config box"},
    "from config import options as other\nother['a'] = 1": set(),
    "o['a'] = 1": set(),
    "config.layers.append(1)": {"config layers"},
    "config.name.upper()": set(),
    "config.unknown.append(1)": set(),
    "setattr(config, 'lr', 1)": {"config lr"},
    "setattr(config, name, 1)": set(),
    "package.config.lr = 1": {"package.config lr"},
    "package.config = 1": {"package config"},
    "np.lr = 1": {"numpy lr"},
    "np.linalg.norm = x": {"numpy.linalg norm"},
    "np.ndarray.first = property(f)": {"numpy:ndarray first"},
    "del np.lr, Here.lr": {"numpy lr", "somewhere:Here lr"},
    "setattr(np.ndarray, 'first', f)": {"numpy:ndarray first"},
    "def patch():\n    Here.lr = 1": {"somewhere:Here lr"},
    "Here().lr = 1": set(),
    "np.ndarray.shape[0] = 1": {"numpy ndarray"},
    "config.Box.size = 1": {"somewhere:Here size"},
    "settings.lr = 1": {"settings lr"},
    "settings.group.size = 1": {"settings group.size"},
    "settings.group.other = 1": {"settings group"},
    "config.box.lr = 1": {"config box"},
    "x.lr = 1": set(),
    "unknown.lr = 1": set(),
    "config().lr = 1": set(),
    "print(config.lr)": set(),
    "config.train(config.lr)": set(),
    "get_ipython().run_cell_magic('time', '', 'config.lr = 1')": {"config lr"},
    "get_ipython().run_cell_magic('capture', 'x', 'config.lr = 1')": {"config lr"},
    "get_ipython().run_cell_magic('modal_gpu', 'T4', 'config.lr = 1')": set(),
    "get_ipython().run_cell_magic('bash', '', 'config.lr = 1')": set(),
    "config.lr = (": set(),
    "": set(),
}


@pytest.mark.parametrize("text", TEXTS)
def test_what_a_cell_sets(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "config", CONFIG)
    assert {" ".join(each.place) for each in assignments(text, NAMES, {})} == TEXTS[text]


def test_a_name_that_an_earlier_cell_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "config", CONFIG)
    imported: dict[str, tuple[str, str]] = {}
    assert [*assignments("from config import options as o", NAMES, imported)] == []
    assert [each.place for each in assignments("o['a'] = 1", NAMES, imported)] == [("config", "options")]


@pytest.mark.parametrize(
    "text, direct",
    [("config.lr = 1", True), ("del config.lr", True), ("config.layers[0] = 1", False), ("config.box.size = 1", False)],
)
def test_whether_the_attribute_itself_is_bound(text: str, direct: bool) -> None:
    (found,) = assignments(text, NAMES, {})
    assert found.is_direct == direct


@pytest.mark.parametrize(
    "found, own",
    [(CONFIG, True), (np, False), (os, False), (pytest, False), (types.ModuleType("no_file"), False)],
)
def test_whose_a_module_is(found: types.ModuleType, own: bool) -> None:
    assert is_own(found) == own
