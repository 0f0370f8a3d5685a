"""The variables of the user's modules are the same on both sides: registries, configurations, counters, singletons.

Each case is a list of cells; `N` runs in the notebook's process, `R` under the magic. All run natively as well, in a
kernel that never heard of the extension, and must show the same. No cell names what changes: calls do it.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import pytest

from tests.e2e.detached_user import detach

if TYPE_CHECKING:
    from tests.e2e.conftest import Pair
    from tests.e2e.detached_user import User
    from tests.e2e.kernel import Kernel


def written(**modules: str) -> str:
    """A cell of both notebooks that writes modules; `package__module` is one of a package."""
    lines = ["N from pathlib import Path"]
    for name, source in modules.items():
        package, _, last = name.rpartition("__")
        path = f"{package}/{last}.py" if package else f"{last}.py"
        lines += [f"Path({package or '.'!r}).mkdir(exist_ok=True); _ = Path({path!r}).write_text({source!r})"]
    return "\n".join(lines)


REGISTRY = "R = {}\ndef register(c):\n    R[c.__name__] = c\n    return c\ndef build(name): return R[name]()\n"
COUNTER = "n = 0\nlog = []\ndef up():\n    global n\n    n += 1\n    log.append(n)\n    return n\n"
CONFIG = "class Config:\n    def __init__(self): self.lr, self.layers = 0.1, [1]\ncfg = Config()\n"
LIST = "NAMES = ['a', 'b']\ndef add(x):\n    NAMES.append(x)\n    return NAMES\n"
MARKER = "class _M: pass\nMISSING = _M()\ndef get(x=MISSING): return x is MISSING\n"

CASES: Final = {
    "a counter": [
        written(counter=COUNTER),
        "N import counter\ncounter.up(), counter.up()",
        "R counter.up(), counter.log",
        "N counter.up(), counter.n, counter.log",
        "R counter.n, counter.log",
    ],
    "a counter that the notebook imports after a remote cell has counted": [
        written(late_counter=COUNTER),
        "R import late_counter\nlate_counter.up()",
        "N import late_counter\nlate_counter.up()",
        "R late_counter.up(), late_counter.log",
    ],
    "a counter that the container imports after the notebook has counted": [
        written(early_counter=COUNTER),
        "N import early_counter\nearly_counter.up()",
        "R 1",
        "R import early_counter as e\ne.up(), e.log",
        "N early_counter.up(), early_counter.log",
    ],
    "a registry of the notebook's classes": [
        written(registry=REGISTRY),
        "N from registry import register, build\n@register\nclass Net: x = 4",
        "R print(build('Net').x)\n@register\nclass Two: x = 5",
        "N build('Two').x, type(build('Net')) is Net, type(build('Two')) is Two",
        "R import registry\nregistry.R['Net'] is Net, registry.R['Two'] is Two",
    ],
    "a registry that an import of other modules fills": [
        written(
            pack__reg=f"N = [0]\n{REGISTRY}",
            pack__nets="from .reg import N, register\n@register\nclass A: N[0] += 1\n@register\nclass B: N[0] += 1\n",
            pack____init__="from . import reg, nets\n",
        ),
        "N import pack\nsorted(pack.reg.R), pack.reg.N",
        "R import pack\nprint(sorted(pack.reg.R), pack.reg.N, pack.reg.R['A'] is pack.nets.A)",
        "N @pack.reg.register\nclass C: v = 1",
        "R sorted(pack.reg.R), pack.reg.N, pack.reg.R['C'] is C, pack.reg.R['B'] is pack.nets.B",
        "N sorted(pack.reg.R), pack.reg.N",
    ],
    "a registry in a class": [
        written(base="class Base:\n    kinds = {}\n    def __init_subclass__(cls): Base.kinds[cls.__name__] = cls\n"),
        "N from base import Base\nclass X(Base): v = 1",
        "R print(sorted(Base.kinds), Base.kinds['X'] is X)\nclass Y(Base): v = 2",
        "N sorted(Base.kinds), Base.kinds['Y'] is Y",
    ],
    "an attribute of a function": [
        written(calls="def f(x):\n    f.calls += 1; f.seen.append(x)\n    return f.calls\nf.calls, f.seen = 0, []\n"),
        "N from calls import f\nf(1), f(2)",
        "R f(3), f.seen",
        "N f(4), f.seen",
    ],
    "numbers of a count": [
        written(
            ids="import itertools\nclass Node:\n    ids = itertools.count()\n    def __init__(s): s.id = next(Node.ids)\n"
        ),
        "N from ids import Node\nNode().id, Node().id",
        "R Node().id",
        "N Node().id",
        "R Node().id",
    ],
    "a configuration that other modules read": [
        written(config=CONFIG, train="import config\ndef run(): return config.cfg.lr, config.cfg.layers\n"),
        "N from config import cfg\ncfg.lr = 0.5; cfg.layers.append(3)",
        "R import train\nprint(train.run(), cfg.lr)\ncfg.lr = 2\ntrain.run()",
        "N import train, config\ntrain.run(), config.cfg is cfg",
        "R import config\ncfg.layers.append(4); train.run(), config.cfg is cfg",
        "N train.run()",
    ],
    "a configuration that is set by a function": [
        written(
            settings="from dataclasses import dataclass, field\n@dataclass\nclass Cfg:\n    lr: float = .1\n"
            "    more: dict = field(default_factory=dict)\ncfg = Cfg()\n"
            "def configure(**k):\n    for a, b in k.items(): setattr(cfg, a, b)\n"
        ),
        "N from settings import cfg, configure\nconfigure(lr=.5)",
        "R configure(more={'a': 1}); cfg",
        "N import settings\ncfg, settings.cfg is cfg",
        "R import settings\nsettings.cfg is cfg, settings.cfg.more is cfg.more",
    ],
    "a dict with attributes, imported by name in another module": [
        written(
            nodes="class Node(dict):\n    def __getattr__(s, k):\n        try: return s[k]\n"
            "        except KeyError: raise AttributeError(k)\n    def __setattr__(s, k, v): s[k] = v\n"
            "cfg = Node(LR=.1, MODEL=Node(name='r50'))\ndef merge(**k): cfg.update(k)\n",
            users="from nodes import cfg\ndef lr(): return cfg.LR, cfg.MODEL.name\n",
        ),
        "N from nodes import cfg as node, merge\nmerge(LR=3); node.MODEL.name = 'vit'",
        "R import users\nprint(users.lr())\nnode.MODEL.name = 'x'; users.lr()",
        "N import users\nusers.lr(), node.MODEL",
    ],
    "a singleton": [
        written(
            single="class S:\n    _one = None\n    @classmethod\n    def get(cls):\n"
            "        cls._one = cls._one or cls()\n        return cls._one\n    def __init__(self): self.v = 0\n"
        ),
        "N from single import S\ns = S.get(); s.v = 5",
        "R S.get().v, S.get() is s",
        "R S.get().v += 1",
        "N s.v, S.get() is s",
    ],
    "objects of the notebook that a class has counted": [
        written(
            counted="class Node:\n    count, all = 0, []\n    def __init__(s): Node.count += 1; Node.all.append(s)\n"
        ),
        "N from counted import Node\na = Node(); b = Node()",
        "R c = Node(); Node.count, len(Node.all), Node.all[0] is a, Node.all[2] is c",
        "N d = Node(); Node.count, len(Node.all), Node.all[2] is c",
        "R Node.all[3] is d, len(Node.all)",
    ],
    "an object of the notebook that a module holds": [
        written(
            holder="current = None\nclass T:\n    def __init__(s): s.n = 0\n"
            "def use(t):\n    global current\n    current = t\ndef inc(): current.n += 1\n"
        ),
        "N import holder\nt = holder.T(); holder.use(t)",
        "R holder.inc(); t.n, holder.current is t",
        "N holder.inc(); t.n, holder.current is t",
        "R t2 = holder.T(); holder.use(t2); holder.inc()",
        "N t2.n, holder.current is t2, t.n",
    ],
    "callbacks of the notebook": [
        written(
            hooks="hooks = []\ndef on(f):\n    hooks.append(f)\n    return f\ndef fire(x): return [h(x) for h in hooks]\n"
        ),
        "N import hooks\nk = 10\n@hooks.on\ndef plus(x): return x + k\nhooks.on(lambda x: x * k)\nhooks.fire(1)",
        "R hooks.fire(2)",
        "N k = 100",
        "R print(hooks.fire(2))\n@hooks.on\ndef minus(x): return x - k",
        "N hooks.fire(3), hooks.hooks[0] is plus, hooks.hooks[2] is minus",
    ],
    "a cache": [
        written(
            cache="_cache = {}\ndef get(k):\n    if k not in _cache: _cache[k] = [len(_cache)]\n    return _cache[k]\n"
        ),
        "N import cache\na = cache.get('a')",
        "R b = cache.get('a'); b is a, cache.get('b')",
        "N cache.get('a') is a, b is a, cache.get('b'), cache.get('c')",
        "R b is a, cache._cache",
    ],
    "a generator of random numbers": [
        written(
            noise="import numpy as np\nrng = np.random.default_rng(0)\ndef draw(): return int(rng.integers(1000))\n"
        ),
        "N import noise\nnoise.draw()",
        "R noise.draw(), noise.draw()",
        "N noise.draw()",
        "R noise.draw()",
    ],
    "random numbers at the import": [
        written(
            weights="import random\nclass Net:\n    def __init__(s): s.w = random.random()\nnet = Net()\ndef w(): return net.w\n"
        ),
        "N import random; random.seed(1)\nfrom weights import net, w\nrandom.seed(5)",
        "R net.w, w() == net.w",
        "R net.w = 3; w()",
        "N w(), net.w",
    ],
    "a model with its optimizer": [
        written(
            model="import torch\ntorch.manual_seed(0)\nmodel = torch.nn.Linear(2, 1)\n"
            "opt = torch.optim.SGD(model.parameters(), lr=.1)\ndef step():\n    opt.zero_grad()\n"
            "    l = model(torch.ones(1, 2)).sum(); l.backward(); opt.step()\n    return round(l.item(), 4)\n"
        ),
        "N import model as m\nm.step(), m.step()",
        "R m.step()",
        "N m.step()",
        "R from model import model, step\nprint(step(), m.opt.param_groups[0]['params'][0] is model.weight)",
        "N m.step(), m.model is model, m.opt.param_groups[0]['params'][0] is model.weight",
    ],
    "arrays, bound again and changed in place": [
        written(
            means="import numpy as np\nmean, hist = np.zeros(3), []\ndef upd(x):\n    global mean\n"
            "    mean = mean * .5 + np.asarray(x) * .5; hist.append(mean)\n    return mean\n"
            "def inplace(x):\n    mean[:] += x\n    return mean\n"
        ),
        "N import means\nmeans.upd([1, 2, 3])",
        "R means.upd([2, 2, 2]); means.inplace(1), means.hist[-1] is means.mean",
        "N means.inplace(1), means.hist[-1] is means.mean, len(means.hist)",
    ],
    "a data frame": [
        written(
            frames="import pandas as pd\nframe = pd.DataFrame({'a': [1, 2]})\ndef add(): frame['b'] = frame.a * 2\n"
        ),
        "N import frames\nframes.add()",
        "R frames.frame.sum().to_dict()",
        "R frames.frame.loc[0, 'a'] = 10",
        "N frames.frame.to_dict()",
    ],
    "values that cannot change": [
        written(
            fixed="import enum\nfrom collections import namedtuple\nT = namedtuple('T', 'a b')\n"
            "class M(enum.Enum):\n    A = 1\n    B = 2\nmode, cur, seen = M.A, T(1, 2), {}\n"
            "def slow(): return 'slow'\ndef fast(): return 'fast'\nimpl = slow\n"
            "def use(m, f, x):\n    global mode, impl, cur\n    mode, impl, cur = m, f, T(x, x)\n    seen[x] = cur\n"
        ),
        "N import fixed\nfixed.use(fixed.M.B, fixed.fast, 1)",
        "R fixed.mode is fixed.M.B, fixed.impl(), fixed.cur, fixed.seen",
        "R fixed.use(fixed.M.A, fixed.slow, 2)",
        "N fixed.mode is fixed.M.A, fixed.impl(), fixed.cur, fixed.seen, fixed.seen[2] is fixed.cur",
    ],
    "a dtype": [
        written(types_of="import torch\nDT = torch.float32\ndef use(d):\n    global DT\n    DT = d\n"),
        "N import types_of, torch\ntypes_of.use(torch.float64)",
        "R print(types_of.DT)\ntypes_of.use(torch.float16)",
        "N types_of.DT",
    ],
    "a list of the module, named in the notebook": [
        written(names=LIST),
        "N from names import NAMES, add",
        "R NAMES.append('c'); add('d')",
        "N NAMES, add('e') is NAMES",
        "R NAMES, add('f') is NAMES",
    ],
    "a list of the module, named beside the module's import": [
        written(beside_import=LIST),
        "N from beside_import import NAMES as names_here",
        "R import beside_import\nbeside_import.add('x') is names_here, names_here is beside_import.NAMES",
        "N import beside_import\nnames_here is beside_import.NAMES, names_here",
    ],
    "one object under several names, as a default, in a class": [
        written(
            several="a = {}\nb = a\ndef get(c=a): return c\nclass C: shared = a\n", importer="from several import a\n"
        ),
        "N import several, importer\nfrom several import a\na.update(x=1)",
        "R several.a is several.b is several.get() is several.C.shared is importer.a is a, a",
        "R several.get()['z'] = 1",
        "N a, several.C.shared is a, importer.a is a",
    ],
    "lists that a remote cell shares between modules": [  # the order of the modules differs from process to process
        written(
            **{f"pair_{n}": f"{LIST}def share(other):\n    global NAMES\n    NAMES = other.NAMES\n" for n in range(10)}
        ),
        "N import " + ", ".join(f"pair_{n}" for n in range(10)),
        "R for n in range(0, 10, 2): globals()[f'pair_{n}'].share(globals()[f'pair_{n + 1}'])",
        "N [globals()[f'pair_{n}'].NAMES is globals()[f'pair_{n + 1}'].NAMES for n in range(0, 10, 2)]",
        "R [globals()[f'pair_{n}'].NAMES is globals()[f'pair_{n + 1}'].NAMES for n in range(0, 10, 2)]",
    ],
    "a list that modules and classes share, until cells bind some of them again": [
        written(
            **{
                f"until_{n}": "L = [1]\nclass C: all = L\ndef share(other):\n    global L\n    L = C.all = other.L\n"
                for n in range(2)
            }
        ),
        "N import until_0, until_1\nuntil_0.share(until_1)",
        "R until_0.L.append(2); until_0.L is until_0.C.all is until_1.L is until_1.C.all, until_1.L",
        "R until_0.L = [3]; until_1.C.all = [4]",
        "N until_0.L, until_0.C.all, until_1.L, until_1.C.all, until_0.C.all is until_1.L",
        "N until_0.C.all = [5]; until_1.L.append(6)",
        "R until_0.L, until_0.C.all, until_1.L, until_1.C.all",
    ],
    "an object in itself": [
        written(cyclic="G = {}\ndef link(a, b): G.setdefault(a, []).append(b); G['self'] = G\n"),
        "N import cyclic\ncyclic.link(1, 2)",
        "R cyclic.link(3, 4); G = cyclic.G; G['self'] is G, len(G)",
        "N cyclic.G['self'] is cyclic.G, len(cyclic.G), G is cyclic.G",
    ],
    "a marker that functions compare by identity": [
        written(markers=MARKER),
        "N from markers import MISSING, get\ndef mine(x=MISSING): return x is MISSING",
        "R print(mine(), get(), get(MISSING))\ny = [MISSING]",
        "N y[0] is MISSING, get(y[0])",
        "R import markers\nmarkers.MISSING is MISSING, y[0] is MISSING, get()",
    ],
    "a marker that only the container has seen": [
        written(new_markers=MARKER),
        "R import new_markers\ny = [new_markers.MISSING]",
        "N import new_markers\ny[0] is new_markers.MISSING, new_markers.get(y[0])",
        "R y[0] is new_markers.MISSING, new_markers.get(), new_markers.get(y[0])",
    ],
    "what each import makes anew stays each side's": [
        written(place="import os\nPID = os.getpid()\nHERE = {'pid': PID}\ndef ok(): return PID == os.getpid()\n"),
        "N import place\nplace.ok()",
        "R place.ok(), place.PID == os.getpid() if 'os' in dir() else place.ok()",
        "N place.ok()",
    ],
    "a module that is run again": [
        written(again=LIST),
        "N import again, importlib\nagain.add('c')",
        "R again.add('d')",
        "N importlib.reload(again).NAMES",
        "R again.NAMES",
        "N again.add('x')",
        "R again.add('y')",
        "N again.NAMES",
    ],
    "a module whose file changes, under autoreload": [
        "N %load_ext autoreload\n%autoreload 2",
        written(edited="S = {'a': 1}\nT = [0]\ndef get():\n    T[0] += 1\n    return S, T\n"),
        "N import edited\nedited.S['b'] = 2\nedited.get()",
        "R edited.get()",
        "N import os, time\nfrom pathlib import Path\nfile = Path('edited.py')\n"
        "_ = file.write_text(file.read_text().replace('S, T', 'S, T, 1')); os.utime(file, (time.time() + 5,) * 2)",
        "N edited.get()",
        "R edited.get()",
        "N %autoreload 0\nedited.get()",
    ],
    "a module whose file changes before a remote cell, under autoreload": [
        "N %load_ext autoreload\n%autoreload 2",
        written(edited_too="T = [0]\ndef get():\n    T[0] += 1\n    return T\n"),
        "N import edited_too\nedited_too.get()",
        "R edited_too.get()",
        "N import os, time\nfrom pathlib import Path\nfile = Path('edited_too.py')\n"
        "_ = file.write_text(file.read_text().replace('return T', 'return T, 1')); os.utime(file, (time.time() + 5,) * 2)",
        "R edited_too.get()",
        "N %autoreload 0\nedited_too.get()",
    ],
    "a cell that fails": [
        written(fails="log = []\ndef add(x):\n    log.append(x)\n    if x > 2: raise ValueError(x)\n"),
        "N import fails\nfails.add(1)",
        "R fails.add(2)\ntry: fails.add(3)\nexcept ValueError: print('E')\nfails.log",
        "N fails.log",
    ],
    "a new variable, and one that was deleted": [
        written(moved="a = [1]\ndef make():\n    global b\n    b = {'x': object}\n"),
        "N import moved\nmoved.make()",
        "R moved.b",
        "R moved.b['y'] = [moved.a]",
        "N moved.b['y'][0] is moved.a",
    ],
}


@pytest.mark.parametrize("cells", CASES.values(), ids=CASES.keys())
def test_a_variable_of_a_module_is_the_same_on_both_sides(cells: list[str], pair: Pair) -> None:
    pair.sides(cells)


STEPS: Final = (
    "{m}.up()",
    "{m}.NAMES.append({n})",
    "{m}.add({n})",
    "{m}.hold(box)",
    "{m}.held.append({n}) if {m}.held is not None else None",
    "box = [{n}]",
    "box.append({n})",
    "box is {m}.held",
    "{m}.Thing({n})",
    "{m}.Thing.all[-1].v.append({n}) if {m}.Thing.all else None",
    "thing = {m}.Thing({n}); thing.v is {m}.Thing.all[-1].v",
    "{m}.share({o})",
    "{m}.NAMES is {o}.NAMES",
    "{m}.NAMES = [{n}]",
    "from {m} import NAMES; NAMES.append({n})",
    "NAMES is {m}.NAMES",
    "{m}.shown()",
)
"""What a user may do with a module `m` beside another one, `o`, and with names of the notebook."""

MODEL: Final = (
    f"{COUNTER}{LIST}held = None\ndef hold(x):\n    global held\n    held = x\n"
    "class Thing:\n    all = []\n    def __init__(s, v): s.v = [v]; Thing.all.append(s)\n"
    "def share(other):\n    global NAMES\n    NAMES = other.NAMES\n"
    "def shown(): return n, log, NAMES, held, [t.v for t in Thing.all]\n"
)


@pytest.mark.parametrize("seed", range(6))
def test_random_steps_on_either_side_show_what_one_process_shows(seed: int, pair: Pair) -> None:
    draw = random.Random(seed)
    first, second = f"first_{seed}", f"second_{seed}"
    pair.sides(
        [written(**{first: MODEL, second: MODEL}), f"N import {first}, {second}\nbox = []; NAMES = thing = None"]
    )
    if draw.random() < 0.5:  # else the container imports them when a cell first names them
        pair.sides([f"R import {first}, {second}"])
    for number in range(14):
        m, o = draw.sample((first, second), 2)
        step = "\n".join(
            draw.choice(STEPS).format(m=m, o=o, n=number * 10 + each) for each in range(draw.randint(1, 2))
        )
        pair.sides([f"{draw.choice('NR')} {step}"])
    shown = f"{first}.shown(), {second}.shown(), {first}.NAMES is {second}.NAMES, box is {first}.held, NAMES is {first}.NAMES"
    pair.sides([f"N {shown}", f"R {shown}"])


def test_a_variable_that_cannot_be_sent_is_named_once(kernel: Kernel) -> None:
    kernel.run(
        "from pathlib import Path\nPath('pools.py').write_text('pool = None\\nkey = None\\nclass Pool: pass\\n"
        "def make(n):\\n    global pool, key\\n    import threading\\n    pool, key = Pool(), n\\n"
        "    pool.lock = threading.Lock()\\n')"
    )
    kernel.run("import pools\npools.make('sk-' + 'a1b2c3d4' * 6)")
    first = kernel.remote("pools.pool is None, pools.key is None", "T4")
    assert first.value() == "(True, True)"
    said = " ".join(first.said.split())
    assert (
        "`pools.pool` is not sent: it holds a lock (_thread.lock) at `.lock`. In the container, the module has its own."
        in said
    )
    assert "`pools.key` is not sent: its value looks like an API key." in said
    assert "is not sent" not in kernel.remote("pools.pool is None", "T4").said


def test_a_large_variable_stays_on_its_side(kernel: Kernel) -> None:
    source = "import numpy as np\ndata = np.ones(9_000_000)\ndef add(): data[:] += 1\n"
    kernel.run(f"from pathlib import Path\nfor name in 'abc': _ = Path(f'bulk_{{name}}.py').write_text({source!r})")
    kernel.run("import bulk_a, bulk_b\nfrom bulk_c import data\nbulk_a.add()")
    first = kernel.remote("bulk_a.data[0]", "T4")
    assert first.value() == "np.float64(1.0)"
    said = " ".join(first.said.split())
    assert (
        "`bulk_a.data` is not sent: it has 72 MB, and the limit is 64 MB of arrays, 4.0 MB and 5,000 objects of all else (a name of the notebook that "
        "has it sends it: from bulk_a import data). In the container, the module has its own."
    ) in said
    assert "bulk_b" not in said, "the cell does not need that module"
    second = kernel.remote("import bulk_c\nbulk_c.add(); data is bulk_c.data, float(data.sum())", "T4")
    assert second.value() == "(True, 18000000.0)"
    assert "is not sent" not in second.said
    assert kernel.run("import bulk_c\ndata is bulk_c.data, float(data.sum())").value() == "(True, 18000000.0)"


def test_an_import_that_fails_shows_no_frame_of_ours(kernel: Kernel) -> None:
    kernel.run("from pathlib import Path\nPath('broken.py').write_text('x = 1\\n1 / 0\\n')")
    for result in (kernel.run("import broken"), kernel.remote("import broken", "T4")):
        assert result.error == "ZeroDivisionError: division by zero"
        assert "broken.py" in result.traceback
        assert "import_hook" not in result.traceback
        assert result.traceback.count("File") == 1


def test_a_new_container_has_the_variables(kernel: Kernel) -> None:
    kernel.run(f"from pathlib import Path\nPath('survives.py').write_text({COUNTER + MARKER!r})")
    kernel.run("import survives\nsurvives.up()")
    assert kernel.remote("survives.up(), survives.log", "T4").value() == "(2, [1, 2])"
    kernel.run("%modal_gpu stop")
    assert kernel.remote("survives.up(), survives.log", "T4").value() == "(3, [1, 2, 3])"
    assert not kernel.remote("import os\nsurvives.up()\nos.kill(os.getpid(), 9)", "T4").ok
    assert kernel.remote("survives.up(), survives.log, survives.get()", "T4").value() == "(4, [1, 2, 3, 4], True)"
    assert kernel.run("survives.n, survives.log").value() == "(4, [1, 2, 3, 4])"


def test_names_of_modules_that_the_notebook_binds_beside_a_background_cell_keep_their_values(kernel: Kernel) -> None:
    kernel.run(f"from pathlib import Path\nPath('beside.py').write_text({COUNTER!r})")
    kernel.run("import beside\nfrom pathlib import Path\ngate = Path('gate').absolute()\nbeside.up()")
    cell = "import time\nbeside.up()\nwhile not gate.exists(): time.sleep(0.01)\nbeside.up()"
    assert kernel.remote(cell, "T4 --bg job").ok
    assert kernel.run("beside.up(), beside.log").value() == "(2, [1, 2])"
    assert kernel.run("gate.touch(); job.result()").value() == "3"
    ended = kernel.run("beside.n, beside.log")
    assert ended.value() == "(2, [1, 2, 3])"
    said = " ".join(ended.said.split())
    assert "Names that you bound while job ran keep their values: beside.n." in said
    assert "was replaced by what job returned: beside.log." in said
    assert kernel.remote("beside.n, beside.log", "T4").value() == "(2, [1, 2, 3])"


def test_a_service_has_the_variables(kernel: Kernel) -> None:
    kernel.run(f"from pathlib import Path\nPath('served.py').write_text({COUNTER + CONFIG!r})")
    kernel.run("import served\nfrom served import cfg\nserved.up(); served.up(); cfg.lr = 9")
    kernel.remote("def look(): return served.up(), cfg.lr, served.cfg is cfg", "T4 --service looks")
    assert kernel.run("looks.look()").value() == "(3, 9, True)"
    kernel.run("looks.stop()")


@pytest.mark.parametrize("idle", ["60", "2"], ids=["in its container", "in the next container, from what is saved"])
def test_a_kernel_that_attaches_to_a_session_has_the_variables(user: User, idle: str) -> None:
    first, second = user.kernel(), user.kernel()
    session = f"modules{idle}"
    for kernel in (first, second):
        kernel.run(f"from pathlib import Path\nPath('long.py').write_text({COUNTER + CONFIG!r})")
    detach(first, session, f"--keep-warm {idle}")
    first.run("import long\nfrom long import cfg\nlong.up()")
    assert first.remote("cfg.lr = 7; long.up(), long.cfg is cfg", "").value() == "(2, True)"
    if idle == "2":
        user.ended(1, session)
    user.kill(first)
    assert second.run(f"%modal_gpu attach {session}").ok
    second.run("import long")
    if idle != "2":
        assert second.run("long.n, long.log").value() == "(2, [1, 2])"
    assert second.remote("long.up(), long.log, long.cfg.lr, long.cfg is cfg", "").value() == "(3, [1, 2, 3], 7, True)"
    assert second.run("long.n, long.cfg.lr").value() == "(3, 7)"
    second.run(f"%modal_gpu stop {session}")


def test_ranks_have_the_variables_and_the_first_one_brings_them_back(kernel: Kernel) -> None:
    kernel.run(f"from pathlib import Path\nPath('ranked.py').write_text({COUNTER + CONFIG!r})")
    kernel.run("import ranked\nranked.up(); ranked.cfg.lr = 5")
    cell = "import ranked, os\nif os.environ['RANK'] == '0': ranked.up(); ranked.cfg.lr += 1\nprint(ranked.cfg.lr)"
    result = kernel.remote(cell, "H100:2 --torchrun 2 --ranks all")
    assert sorted(result.stdout.splitlines()) == ["6", "[rank 1] 5"]
    assert kernel.run("ranked.n, ranked.log, ranked.cfg.lr").value() == "(2, [1, 2], 6)"
