"""What cells set in libraries and classes (`np.float = float`, `sys.argv = […]`) holds on both sides, as in one kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Pair
    from tests.e2e.kernel import Kernel

ARGUMENTS = (
    "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--lr', type=float)\nparser.parse_args()"
)

CASES = {
    "the arguments of a program": [
        "N import sys\nsys.argv = ['train.py', '--lr', '1']",
        f"R {ARGUMENTS}",
        "R sys.argv[2:] = ['2']",
        "N sys.argv[1:], sys.argv.append('--other')",
        "R sys.argv.pop(), sys.argv",
        "R sys.argv = [*sys.argv, '--lr', '3']",
        "N sys.argv, parser.parse_args()",
    ],
    "names that a library no longer has": [
        "N import numpy as np, collections, collections.abc\nnp.float = float; collections.Mapping = collections.abc.Mapping",
        "R np.float(1), collections.Mapping",
        "R np.bool8 = bool",
        "N np.bool8, np.float",
        "N del np.float",
        "R hasattr(np, 'float'), hasattr(np, 'bool8')",
        "R del np.bool8",
        "N hasattr(np, 'float'), hasattr(np, 'bool8')",
    ],
    "an attribute of a submodule": [
        "N import PIL.Image\nPIL.Image.ANTIALIAS = PIL.Image.LANCZOS",
        "R PIL.Image.ANTIALIAS is PIL.Image.LANCZOS",
        "R from PIL import Image\nImage.NEW = [1]",
        "N PIL.Image.NEW",
    ],
    "a function with arguments that are fixed": [
        "N import torch, functools\ntorch.load = functools.partial(torch.load, weights_only=False)",
        "R torch.load.keywords, torch.load.func is torch.serialization.load",
        "R torch.load = torch.load.func",
        "N torch.load is torch.serialization.load",
    ],
    "a function around the library's": [
        "N import zlib\n_checksum, calls = zlib.adler32, []\n"
        "def checksum(*values):\n    calls.append(values)\n    return _checksum(*values)\nzlib.adler32 = checksum",
        "R import zlib\nzlib.adler32(b'a'), calls",
        "N zlib.adler32(b'b'), calls",
        "N zlib.adler32 = _checksum",
        "R zlib.adler32(b'c'), calls",
    ],
    "a function around a function that a program may replace": [
        "N import colorsys\n_convert = colorsys.rgb_to_hsv\n"
        "def convert(*values):\n    return 'hsv', _convert(*values)\ncolorsys.rgb_to_hsv = convert",
        "R import colorsys\nkept = [_convert]\ncolorsys.rgb_to_hsv(1, 0, 0), _convert(1, 0, 0)",
        "N kept[0] is _convert, kept[0](1, 0, 0), colorsys.rgb_to_hsv(1, 0, 0)",
        "N colorsys.rgb_to_hsv = _convert",
        "R colorsys.rgb_to_hsv(1, 0, 0), colorsys.rgb_to_hsv is _convert",
        "R colorsys.rgb_to_hsv = lambda *_: 'again'\n_convert(1, 0, 0)",
        "N colorsys.rgb_to_hsv(1, 0, 0), _convert(1, 0, 0)",
    ],
    "an error in such a function": [
        "N import colorsys\ndef fails(*values):\n    return 1 / 0\ncolorsys.hsv_to_rgb = fails",
        "R import colorsys\ncolorsys.hsv_to_rgb(1, 0, 0)",
    ],
    "a method around the library's": [
        "N import torch\n_forward = torch.nn.Linear.forward\nseen = []\n"
        "def forward(self, x):\n    seen.append(tuple(x.shape))\n    return _forward(self, x)\ntorch.nn.Linear.forward = forward",
        "R torch.nn.Linear(2, 3)(torch.ones(1, 2)).shape, seen",
        "N torch.nn.Linear(2, 3)(torch.ones(4, 2)).shape, seen",
        "N torch.nn.Linear.forward = _forward",
        "R torch.nn.Linear(2, 3)(torch.ones(5, 2)).shape, seen",
    ],
    "certificates that are not checked": [
        "N import ssl\nssl._create_default_https_context = ssl._create_unverified_context",
        "R import ssl\nssl._create_default_https_context is ssl._create_unverified_context",
        "R 1",
        "N ssl._create_default_https_context is ssl._create_unverified_context",
    ],
    "a method of a library's class, which uses a variable": [
        "N import pandas as pd\nrows = 2\ndef _peek(self, times=1):\n    return self.head(rows * times)\n"
        "pd.DataFrame.peek = _peek\ndf = pd.DataFrame({'a': range(9)})",
        "R print(len(df.peek()))\nrows = 3",
        "N len(df.peek())",
        "R len(df.peek(times=2))",
        "N pd.DataFrame.peek = lambda self: 'new'",
        "R df.peek()",
        "N del pd.DataFrame.peek",
        "R hasattr(df, 'peek')",
    ],
    "properties and methods of classes": [
        "N import torch\ntorch.Tensor.info = property(lambda self: (tuple(self.shape), self.dtype))\n"
        "torch.nn.Module.size = lambda self: sum(p.numel() for p in self.parameters())\n"
        "torch.nn.Linear.of = classmethod(lambda kind, n: kind(n, n))",
        "R torch.ones(2).info, torch.nn.Linear(2, 2).size(), torch.nn.Linear.of(3).in_features",
        "R torch.Tensor.twice = lambda self: self * 2",
        "N torch.ones(1).twice(), torch.ones(2).info",
    ],
    "before the notebook has imported the library": [
        "R import fractions\nfractions.Fraction.half = property(lambda self: self / 2)\nfractions.Fraction(1).half",
        "N import fractions\nfractions.Fraction(3).half",
    ],
    "a function that was made in a call": [
        "N import statistics\ndef louder(function):\n    def said(*values):\n        return 'so', function(*values)\n    return said\n"
        "statistics.mean = louder(statistics.mean)",
        "R import statistics\nstatistics.mean([1, 2])",
        "R statistics.mean = statistics.fmean",
        "N statistics.mean([1, 2])",
    ],
    "by setattr, in a function": [
        "N import textwrap\ndef patch(name, value):\n    textwrap.own = value\n    setattr(textwrap.TextWrapper, 'kind', value)\npatch('own', 5)",
        "R import textwrap\ntextwrap.own, textwrap.TextWrapper.kind",
        "R patch('own', {'a': [6]})",
        "N textwrap.own, textwrap.TextWrapper.kind",
    ],
    "data that is changed in place": [
        "N import string, sys\nstring.own = {'a': [1]}\nstring.own['a'].append(2); sys.argv += ['x']",
        "R import string\nstring.own, sys.argv[-1]",
        "R string.own.update(b=3); del sys.argv[-1]",
        "N string.own, sys.argv[-1:] == ['x']",
    ],
    "a new built-in": [
        "N import builtins\nbuiltins.profile = lambda function: function",
        "R profile(1)",
        "R builtins.other = 2",
        "N other, profile(3)",
        "N del builtins.profile, builtins.other",
    ],
    "objects in an own module": [
        "N from pathlib import Path\nPath('settings.py').write_text('device = kind = act = None\ndef scale(x):\n    return x\n')\n"
        "import settings, torch\nsettings.device = torch.device('cpu'); settings.kind = torch.optim.AdamW\n"
        "factor = 3\ndef scale(x):\n    return x * factor\nsettings.scale = scale; settings.act = torch.nn.functional.relu",
        "R import settings\nsettings.device, settings.kind, settings.act.__name__, settings.scale(2)",
        "R settings.device = 'text'; settings.scale = len; settings.kind = torch.optim.SGD",
        "N settings.device, settings.kind, settings.scale('abc')",
        "N settings.device = torch.float16\ndel settings.act",
        "R settings.device, hasattr(settings, 'act')",
    ],
    "a method of a class of the notebook": [
        "N class Layer:\n    def forward(self, x):\n        return x + 1\n_former = Layer.forward\n"
        "def louder(self, x):\n    return _former(self, x) * 10\nLayer.forward = louder\nlayer = Layer()",
        "R layer.forward(1), _former(layer, 1), Layer.forward is louder",
        "N layer.forward(1), _former(layer, 1), Layer.forward is louder",
        "R Layer.forward = _former\nlayer.forward(1)",
        "N layer.forward(1), Layer.forward is _former",
    ],
    "a method of a class of an own module": [
        "N from pathlib import Path\nPath('layers.py').write_text('class Layer:\\n    def f(self):\\n        return 1\\n')\n"
        "import layers\n_own = layers.Layer.f\nlayers.Layer.f = lambda self: _own(self) + 5",
        "R layers.Layer().f(), _own(layers.Layer())",
        "N layers.Layer.f = _own",
        "R layers.Layer().f(), layers.Layer.f is _own",
    ],
    "a function of an own module that is edited": [
        "N from pathlib import Path\nedited = Path('edited.py')\nedited.write_text('def f():\\n    return 1\\n')\n"
        "import edited as module\n_first = module.f\nmodule.f = lambda: _first() + 5",
        "R module.f(), _first()",
        "N edited.write_text('def f():\\n    return 22\\n'); import importlib; importlib.reload(module).f()",
        "R from edited import f\nmodule.f(), f()",
        "N module.f = lambda: f() + 7",
        "R module.f(), f()",
        "N module.f = f",
        "R module.f(), module.f is f",
    ],
    "a class of an own module": [
        "N from pathlib import Path\nPath('nets.py').write_text('class Net:\\n    size = 1\\n')\nimport nets\nnets.Net.size = 2",
        "R import nets\nnets.Net.size, nets.Net().size",
        "R nets.Net.double = lambda self: self.size * 2",
        "N nets.Net().double()",
    ],
}


CALLS = {
    "bars of tqdm": [
        "N import pandas as pd\nfrom tqdm import tqdm\ntqdm.pandas(disable=True)\ncolumn = pd.Series([1, 2])",
        "R column.progress_apply(str).tolist(), pd.DataFrame({'a': [1]}).groupby('a').progress_apply(len).tolist()",
        "R from tqdm.auto import tqdm as auto\nauto.pandas(desc='there', disable=True)",
        "N column.progress_map(str).tolist()",
    ],
    "an accessor": [
        "N import pandas as pd\n@pd.api.extensions.register_dataframe_accessor('geo')\nclass Geo:\n"
        "    def __init__(self, frame):\n        self.frame = frame\n    def rows(self):\n        return len(self.frame) * factor\n"
        "factor, frame = 2, pd.DataFrame({'a': [1]})",
        "R frame.geo.rows()",
        "R frame['b'] = 3\nfactor = 5\nframe.geo.rows(), type(frame.geo) is Geo, frame.geo is frame.geo",
        "N frame.geo.rows(), type(frame.geo) is Geo",
    ],
    "an accessor from there": [
        "R import pandas as pd\n@pd.api.extensions.register_series_accessor('twice')\nclass Twice:\n"
        "    def __init__(self, series):\n        self.all = series * 2\npd.Series([1]).twice.all.tolist()",
        "N import pandas as pd\npd.Series([4]).twice.all.tolist(), type(pd.Series([4]).twice) is Twice",
    ],
}
"""What calls add to the classes of pandas."""


@pytest.mark.parametrize("cells", [*CASES.values(), *CALLS.values()], ids=[*CASES, *CALLS])
def test_what_a_cell_sets_is_the_same_on_both_sides(cells: list[str], pair: Pair) -> None:
    pair.sides(cells)


SUBMODULES = {
    "imported in the notebook": ["N import xml.dom.minidom", "R xml.dom.minidom.Node"],
    "imported later": [
        "N import wsgiref",
        "R wsgiref.__name__",
        "N import wsgiref.headers",
        "R wsgiref.headers.Headers",
    ],
    "by another name": [
        "N import xmlrpc as x\nimport xmlrpc.client\ndef fault():\n    return x.client.Fault",
        "R fault(), x.client.Binary",
    ],
    "loaded by another import": ["N from lib2to3 import pgen2\nimport lib2to3", "R lib2to3.pgen2.__name__"],
    "in a function that is there before": [
        "N import curses\ndef late():\n    return curses.ascii.NUL",
        "R late.__name__",
        "N import curses.ascii",
        "R late()",
    ],
    "of a package of the user": [
        "N from pathlib import Path\nown = Path('own'); own.mkdir(); (own / '__init__.py').touch()\n"
        "(own / 'part.py').write_text('value = 7')\nimport own.part",
        "R own.part.value",
    ],
}


@pytest.mark.parametrize("cells", SUBMODULES.values(), ids=SUBMODULES.keys())
def test_a_submodule_is_read_through_its_package(cells: list[str], pair: Pair) -> None:
    pair.sides(cells)


def test_ranks_have_them_as_well(pair: Pair) -> None:
    pair.here("import html.parser, html, numpy\nhtml.kind = 4; numpy.ndarray_kind = int")
    said = pair.kernel.remote("print(html.kind, html.parser.HTMLParser.__name__)", "T4 --torchrun", timeout=150)
    assert said.stdout == "4 HTMLParser\n", said.error


def test_a_service_has_them_as_well(kernel: Kernel) -> None:
    kernel.run("import html.parser, html\nhtml.kind = 5")
    made = kernel.remote(
        "def f():\n    return html.kind, html.parser.HTMLParser.__name__", "T4 --service kinds", timeout=150
    )
    assert made.ok, made.traceback
    assert kernel.run("kinds.f()").value() == "(5, 'HTMLParser')"
    kernel.run("%modal_gpu stop kinds")


def test_a_new_container_has_what_was_set(kernel: Kernel) -> None:
    kernel.remote("import calendar\ncalendar.own = 3", "T4")
    kernel.run("%modal_gpu stop")
    assert kernel.remote("import calendar\ncalendar.own", "T4").value() == "3"


@pytest.mark.parametrize(
    "source",
    [
        "class Own: ...\nquopri.own = Own",
        "import threading\nquopri.own = threading.Lock()",
        "quopri.own = bytes(200_000)",
    ],
)
def test_what_cannot_be_sent_is_named(kernel: Kernel, source: str) -> None:
    kernel.run("%unload_ext modal_gpu_magic\n%load_ext modal_gpu_magic")
    kernel.run(f"import quopri\n{source}")
    first = kernel.remote("import quopri\nhasattr(quopri, 'own')", "T4")
    assert first.value() == "False"
    assert "`quopri.own`, which a cell has set, cannot be sent: the container has its own." in " ".join(
        first.said.split()
    )
    assert "cannot be sent" not in kernel.remote("1", "T4").said
    kernel.run("del quopri.own")


@pytest.mark.parametrize(
    "here, there, owner",
    [
        (
            "import fractions\nfor name in ['own']:\n    setattr(fractions.Fraction, name, 1)\nhalf = fractions.Fraction(1, 2)",
            "half.own",
            "Fraction` has the attribute `own",
        ),
        ("import bisect\nvars(bisect)['own'] = 1", "import bisect\nbisect.own", "bisect` has the attribute `own"),
    ],
)
def test_what_a_call_has_set_is_a_hint(kernel: Kernel, here: str, there: str, owner: str) -> None:
    assert kernel.run(here).ok
    failed = kernel.remote(there, "T4")
    assert failed.error.startswith("AttributeError")
    assert f"`{owner}` in the notebook: what has set it has not run in the container." in " ".join(failed.said.split())
    assert "in the notebook" not in kernel.remote("[].own", "T4").said


def test_a_credential_is_not_sent(kernel: Kernel) -> None:
    kernel.run("import base64\nbase64.api_key = 's3cr3t-Value'")
    first = kernel.remote("import base64\nhasattr(base64, 'api_key')", "T4")
    assert first.value() == "False"
    assert "`base64.api_key`, which a cell has set, is not sent: its name says that it is a credential." in first.said


def test_what_a_hostile_cell_replaces_stays_in_the_container(kernel: Kernel) -> None:
    kernel.remote("import json, time\njson.dumps = json.loads = None; time.time = lambda: 0", "T4")
    assert kernel.remote("json.dumps, time.time()", "T4").value() == "(None, 0)"
    assert kernel.run("import json, time\njson.dumps([1]), time.time() > 0").value() == "('[1]', True)"
