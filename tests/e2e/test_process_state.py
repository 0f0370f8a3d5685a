"""The process around the values is one process: what a cell sets on one side, the next cell finds on the other.

Each case is a list of cells; `N` runs in the notebook's process, `R` under the magic. All run natively as well, in a
kernel that never heard of the extension, and must show the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.kernel import Kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import Pair

SEED = "import random, numpy as np, torch\nrandom.seed({0}); np.random.seed({0}); _ = torch.manual_seed({0})"
DRAW = "random.random(), random.gauss(0, 1), np.random.rand(2), np.random.randn(), torch.rand(2), torch.randperm(5)"
HANDLERS = "import logging, sys\napp = logging.getLogger('app'); app.propagate = False\n"
COLLECTS = """
class Collects(logging.Handler):
    def __init__(self, out):
        super().__init__()
        self.out = out
    def emit(self, record):
        self.out.append(self.format(record))
"""
LOGS = "import logging\nlogging.getLogger('app').{0}"
FILTERS = "import warnings\n"
WARN = "import warnings\nwarnings.warn('seen')\nwarnings.warn('old way', DeprecationWarning)"

CASES = {
    # Random numbers.
    "a seed here, draws on both sides": [f"N {SEED.format(0)}", f"R {DRAW}", f"N {DRAW}", f"R {DRAW}", f"R {DRAW}"],
    "a seed there, draws on both sides": [f"R {SEED.format(1)}", f"N {DRAW}", f"N {DRAW}", f"R {DRAW}", f"N {DRAW}"],
    "seeds on both sides, the later counts": [
        f"N {SEED.format(2)}",
        f"R {SEED.format(3)}\n{DRAW}",
        f"N {DRAW}",
        f"N {SEED.format(2)}",
        f"R {DRAW}",
    ],
    "a seed set again to the same number": [
        "N import random\nrandom.seed(4)",
        "R random.random()",
        "N random.seed(4)",
        "R random.random()",
        "R random.seed(4)",
        "N random.random()",
    ],
    "a cell that raises has drawn": [
        "N random.seed(5)",
        "R random.random()\n1 / 0",
        "N random.random()",
        "R random.random()",
    ],
    "only one of the libraries is named": ["N np.random.seed(6)", "R np.random.rand()", "N np.random.rand()"],
    "a shuffled list": [
        "N random.seed(7)\ncards = list(range(9))\nrandom.shuffle(cards)",
        "R random.shuffle(cards)\ncards",
        "N random.shuffle(cards)\ncards",
    ],
    "functions of the generator by other names": [
        "N import random, numpy as np\nfrom random import random as draw, shuffle, choice\nfrom numpy.random import rand, permutation\nrng = random",
        "N random.seed(8); np.random.seed(8)",
        "R draw(), choice('abcdef'), rand(2), rng.random()",
        "N draw(), choice('abcdef'), rand(2), rng.random()",
        "R draw(), permutation(5), random.random(), np.random.rand()",
        "N np.random.seed(9); random.seed(9)",
        "R rand(1), draw()",
    ],
    "functions of the generator that come from there": [
        "R import random, numpy as np\nfrom random import uniform, sample as pick\nfrom numpy.random import randint",
        "N random.seed(10); np.random.seed(10)\nuniform(0, 1), pick(range(50), 3), randint(100)",
        "R uniform(0, 1), pick(range(50), 3), randint(100)",
        "N uniform(0, 1), pick.__self__ is random._inst, randint(100)",
    ],
    "in containers, attributes, defaults and closures": [
        "N class Bag: pass\nbag = Bag(); bag.draw = random.random\nheld = {'draw': random.gauss}\n"
        "def noisy(x, draw=random.random): return x + draw()\ndef maker():\n    inner = random.random\n    return lambda: inner()\nmade = maker()",
        "N random.seed(11)",
        "R bag.draw(), held['draw'](0, 1), noisy(1), made()",
        "N bag.draw(), held['draw'](0, 1), noisy(1), made()",
        "R bag.draw(), noisy(1), random.random()",
    ],
    "the global generators themselves": [
        "N source = random._inst\nstate = np.random.mtrand._rand\ngenerator = torch.default_generator",
        "N random.seed(12); np.random.seed(12); _ = torch.manual_seed(12)",
        "R source.random(), state.rand(), torch.rand(1, generator=generator), source is random._inst",
        "N source.random(), state.rand(), torch.rand(1, generator=generator), source is random._inst",
        "R state is np.random.mtrand._rand, generator is torch.default_generator, random.random(), torch.rand(1)",
    ],
    "generators of the user's own are values": [
        "N own = random.Random(1); legacy = np.random.RandomState(1); new = np.random.default_rng(1)\npick = own.choice",
        "R own.random(), legacy.rand(), new.random()",
        "N own.random(), legacy.rand(), new.random()",
        "R own.random(), legacy.rand(), new.random()",
    ],
    "states read and put back by hand": [
        "N random.seed(13); kept = random.getstate(), np.random.get_state(), torch.get_rng_state()",
        "R one = random.random(), np.random.rand(), torch.rand(1)",
        "N random.setstate(kept[0]); np.random.set_state(kept[1]); torch.set_rng_state(kept[2])",
        "R one == (random.random(), np.random.rand(), torch.rand(1))",
    ],
    "weights made there, then here": [
        "N _ = torch.manual_seed(14)\nnet = torch.nn.Linear(2, 2)",
        "R second = torch.nn.Linear(2, 2)\nsecond.weight",
        "N torch.nn.Linear(2, 2).weight",
        "R torch.nn.functional.dropout(torch.ones(9), 0.5)",
    ],
    "torch's seed is known": ["N _ = torch.manual_seed(15)", "R torch.initial_seed()", "N torch.initial_seed()"],
    # The environment.
    "variables set, changed and deleted here": [
        "N import os\nos.environ['MGT_ONE'] = 'here'; os.environ['MGT_TWO'] = ''",
        "R import os\nos.environ.get('MGT_ONE'), os.environ.get('MGT_TWO')",
        "N os.environ['MGT_ONE'] = 'again'; del os.environ['MGT_TWO']",
        "R os.environ.get('MGT_ONE'), 'MGT_TWO' in os.environ, os.popen('echo $MGT_ONE').read()",
    ],
    "variables set, changed and deleted there": [
        "R import os\nos.environ['MGT_THERE'] = 'there'; os.environ.pop('MGT_ONE', None)",
        "N os.environ.get('MGT_THERE'), os.environ.get('MGT_ONE')",
        "N os.environ['MGT_THERE'] += '!'",
        "R os.environ['MGT_THERE']",
        "R del os.environ['MGT_THERE']",
        "N os.environ.get('MGT_THERE')",
    ],
    "%env": ["N %env MGT_LINE=a b", "R os.environ['MGT_LINE']", "R %env MGT_LINE=c", "N os.environ['MGT_LINE']"],
    "a variable that the kernel inherited, deleted here": [
        "N os.environ.get('MGT_INHERITED')",
        "N os.environ['MGT_INHERITED'] = 'new'",
        "R os.environ.get('MGT_INHERITED')",
        "N del os.environ['MGT_INHERITED']",
        "R os.environ.get('MGT_INHERITED')",
    ],
    # The import path.
    "folders on the path": [
        "N import sys\nsys.path.insert(0, '/opt/mgt/first'); sys.path.append('../mgt_last')",
        "R import sys\nsys.path[0], sys.path[-1]",
        "R sys.path.remove('/opt/mgt/first'); sys.path.append('/opt/mgt/more')",
        "N [p for p in sys.path if 'mgt' in p]",
        "N sys.path.remove('../mgt_last')",
        "R [p for p in sys.path if 'mgt' in p]",
    ],
    # torch's settings.
    "the default dtype": [
        "N torch.set_default_dtype(torch.float64)",
        "R torch.zeros(1).dtype",
        "R torch.set_default_dtype(torch.float32)",
        "N torch.zeros(1).dtype",
    ],
    "gradients off": [
        "N _ = torch.set_grad_enabled(False)",
        "R torch.is_grad_enabled(), (torch.ones(1, requires_grad=True) * 2).requires_grad",
        "R _ = torch.set_grad_enabled(True)",
        "N torch.is_grad_enabled()",
    ],
    "how tensors are printed": [
        "N torch.set_printoptions(precision=2, sci_mode=False)",
        "R torch.tensor([1.23456, 1e6])",
        "R torch.set_printoptions(profile='default')\ntorch.tensor([1.23456])",
        "N torch.tensor([1.23456])",
    ],
    "deterministic algorithms and precision": [
        "N torch.use_deterministic_algorithms(True, warn_only=True); torch.set_float32_matmul_precision('high')",
        "R torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled(), torch.get_float32_matmul_precision()",
        "R torch.use_deterministic_algorithms(False); torch.set_float32_matmul_precision('highest')",
        "N torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision()",
    ],
    "cudnn's flags": [
        "N torch.backends.cudnn.benchmark = True; torch.backends.cudnn.deterministic = True",
        "R torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic",
        "R torch.backends.cudnn.benchmark = False",
        "N torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic",
    ],
    "the default device": [
        "N torch.set_default_device('cpu')",
        "R torch.get_default_device()",
        "R torch.set_default_device('meta')",
        "N torch.zeros(1).device",
        "N torch.set_default_device('cpu')",
        "R torch.zeros(1).device",
    ],
    # numpy, decimal.
    "how arrays are printed": [
        "N np.set_printoptions(precision=3, suppress=True)",
        "R np.array([1.23456, 1e-9])",
        "R np.set_printoptions(precision=2, threshold=5)\nnp.arange(10) / 3",
        "N np.arange(10) / 3",
        "R np.arange(10) / 7",
    ],
    "a formatter of the notebook's": [
        "N np.set_printoptions(formatter={'float': lambda x: f'<{x:.1f}>'})",
        "R np.array([1.25])",
        "N np.array([1.25])",
        "R np.set_printoptions(formatter=None)",
        "N np.array([1.25])",
    ],
    "numpy's errors": [
        "N _ = np.seterr(divide='ignore', invalid='raise')",
        "R np.geterr(), np.array([1.0]) / 0",
        "R _ = np.seterr(invalid='ignore')",
        "N np.geterr()",
    ],
    "decimals": [
        "N import decimal\ndecimal.getcontext().prec = 5",
        "R import decimal\ndecimal.Decimal(1) / 3",
        "R decimal.getcontext().prec = 7; decimal.getcontext().rounding = decimal.ROUND_UP",
        "N decimal.Decimal(1) / 3, decimal.getcontext().rounding",
        "R decimal.Decimal(1) / 7",
    ],
    # pandas, matplotlib.
    "options of pandas": [
        "N import pandas as pd\npd.set_option('display.max_rows', 4); pd.options.display.precision = 2\nframe = pd.DataFrame({'a': [x / 3 for x in range(9)]})",
        "R frame",
        "R pd.reset_option('display.max_rows'); pd.set_option('display.precision', 4)\nframe",
        "N frame",
        "R pd.get_option('display.max_rows'), pd.get_option('display.precision')",
    ],
    "a format of pandas": [
        "N pd.set_option('display.float_format', '{:,.1f}'.format)",
        "R pd.DataFrame({'a': [1234.56]})",
        "N pd.set_option('display.float_format', lambda x: '%.3f' % x)",
        "R pd.DataFrame({'a': [1234.56]})",
        "R pd.reset_option('display.float_format')",
        "N pd.DataFrame({'a': [1234.56]})",
    ],
    "rcParams": [
        "N import matplotlib as mpl\nmpl.rcParams['lines.linewidth'] = 4; mpl.rcParams['axes.prop_cycle'] = mpl.cycler(color=['r', 'g'])",
        "R mpl.rcParams['lines.linewidth'], mpl.rcParams['axes.prop_cycle']",
        "R mpl.rc('font', size=15); mpl.rcParams['lines.linewidth'] = 5",
        "N mpl.rcParams['lines.linewidth'], mpl.rcParams['font.size']",
        "N mpl.rcdefaults()",
        "R mpl.rcParams['lines.linewidth'], mpl.rcParams['font.size'], mpl.rcParams['axes.prop_cycle']",
    ],
    "a style": [
        "N import matplotlib.pyplot as plt\nplt.style.use('ggplot')",
        "R mpl.rcParams['axes.facecolor'], mpl.rcParams['axes.grid']",
        "R plt.style.use('default')",
        "N mpl.rcParams['axes.facecolor'], mpl.rcParams['axes.grid']",
    ],
    # Warnings, logging, the rest.
    "warnings ignored here": [
        f"N {FILTERS}warnings.filterwarnings('ignore', 'seen')",
        f"R {WARN}",
        f"R {FILTERS}warnings.simplefilter('ignore')",
        f"N {WARN}",
        f"N {FILTERS}warnings.resetwarnings()",
        "R warnings.warn('again')",
    ],
    "warnings as errors": [
        f"N {FILTERS}warnings.filterwarnings('error', category=RuntimeWarning)",
        "R try:\n    warnings.warn('x', RuntimeWarning)\nexcept RuntimeWarning as error:\n    print('raised', error)",
        f"N {FILTERS}warnings.resetwarnings(); warnings.simplefilter('default')",
    ],
    "filters over one that raises errors": [
        f"N {FILTERS}warnings.filterwarnings('error', category=UserWarning)",
        f"R {FILTERS}warnings.simplefilter('ignore')\nwarnings.warn('not seen')",
        "N warnings.warn('not seen')",
        f"R {FILTERS}warnings.filterwarnings('error', category=UserWarning)",
        "N try:\n    warnings.warn('x')\nexcept UserWarning as error:\n    print('raised', error)",
        f"R {FILTERS}warnings.resetwarnings(); warnings.simplefilter('default')",
        "N warnings.warn('seen')",
    ],
    "a warning of a library that is not loaded there": [
        f"N {FILTERS}from sklearn.exceptions import ConvergenceWarning\nwarnings.simplefilter('ignore', ConvergenceWarning)",
        "R from sklearn.exceptions import ConvergenceWarning as Same\nwarnings.warn('not seen', Same)\nwarnings.warn('seen')",
        f"N {FILTERS}warnings.resetwarnings(); warnings.simplefilter('default')",
    ],
    "levels of loggers": [
        f"N {LOGS.format('setLevel(logging.DEBUG)')}\nlogging.getLogger().setLevel('ERROR')",
        f"R {LOGS.format('level')}, logging.getLogger('app.part').getEffectiveLevel(), logging.getLogger().level",
        f"R {LOGS.format('setLevel(0)')}\nlogging.getLogger('more').setLevel(35)",
        f"N {LOGS.format('level')}, logging.getLogger('more').level",
        "N logging.disable(logging.INFO)",
        "R logging.getLogger('more').isEnabledFor(logging.INFO), logging.root.manager.disable",
        "R logging.disable(logging.NOTSET)",
        "N logging.root.manager.disable",
    ],
    "basicConfig": [
        "N import logging\nlogging.basicConfig(level=logging.INFO, format='%(levelname)s|%(name)s|%(message)s', force=True)",
        "R logging.getLogger('app').info('said'); logging.info('root')",
        "N logging.getLogger('app').info('said')",
        "R logging.basicConfig(level=logging.WARNING, format='%(message)s', force=True)\nlogging.getLogger('app').info('unsaid'); logging.warning('said')",
        "N logging.getLogger('app').info('unsaid'); logging.warning('said'); len(logging.root.handlers)",
        "R len(logging.root.handlers)",
    ],
    "a handler that has a name": [
        f"N {HANDLERS}h = logging.StreamHandler(sys.stdout); f = logging.Formatter('%(message)s!'); app.addHandler(h)",
        "R h.setFormatter(f); h.setLevel(30); app.warning('there'); app.handlers == [h]",
        "N app.warning('here'); h.level, app.handlers == [h], h.formatter is f",
        "R app.removeHandler(h); app.handlers",
        "N app.warning('on stderr'); app.handlers",
    ],
    "a handler that was made there": [
        f"R {HANDLERS}made = logging.StreamHandler(sys.stdout); app.addHandler(made); app.warning('there')",
        "N app.warning('here'); app.handlers == [made]",
        "R app.warning('there'); app.handlers == [made]",
        "N app.removeHandler(made)",
        "R app.handlers",
    ],
    "a handler that collects": [
        f"N {HANDLERS}{COLLECTS}out = []; c = Collects(out); app.addHandler(c)",
        "R app.warning('there'); out, c.out is out, app.handlers == [c]",
        "N app.warning('here'); out, c.out is out, app.handlers == [c]",
        "R app.warning('again'); app.removeHandler(c); out",
        "N out, app.handlers",
    ],
    "a log file": [
        "N import logging\nlogging.basicConfig(filename='train.log', level=logging.INFO, format='%(message)s', force=True)",
        "R logging.info('one'); open('train.log').read()",
        "R logging.info('two'); open('train.log').read(), len(logging.root.handlers)",
        "N logging.basicConfig(level=logging.WARNING, format='%(message)s', force=True)",
        "R logging.info('unsaid'); open('train.log').read()",
    ],
    "a handler of a file": [
        f"N {HANDLERS}file = logging.FileHandler('app.log', 'w'); app.addHandler(file); app.warning('here')",
        "R file.setLevel(40); app.warning('unsaid'); app.error('there'); app.handlers == [file]",
        "N app.error('here'); file.level, app.handlers == [file], file.mode, open('app.log').read().split().count('here')",
        "N app.removeHandler(file); file.close()",
        "R app.handlers",
    ],
    "thresholds of the garbage collector": [
        "N import gc\ngc.set_threshold(500, 5, 5)",
        "R gc.get_threshold()",
        "R gc.set_threshold(700, 10, 10)",
        "N gc.get_threshold()",
    ],
    "the timeout of sockets, and the interval of threads": [
        "N import socket, sys\nsocket.setdefaulttimeout(50); sys.setswitchinterval(0.01)",
        "R socket.getdefaulttimeout(), sys.getswitchinterval()",
        "R socket.setdefaulttimeout(None); sys.setswitchinterval(0.005)",
        "N socket.getdefaulttimeout(), sys.getswitchinterval()",
    ],
    "the digits of integers": [
        "N import sys\nsys.set_int_max_str_digits(0)",
        "R len(str(10**5000))",
        "R sys.set_int_max_str_digits(5000)",
        "N sys.get_int_max_str_digits()",
    ],
    "the locale": [
        "N import locale\nlocale.setlocale(locale.LC_ALL, 'C.UTF-8')",
        "R locale.setlocale(locale.LC_TIME), locale.setlocale(locale.LC_NUMERIC)",
        "R locale.setlocale(locale.LC_TIME, 'C')",
        "N locale.setlocale(locale.LC_TIME), locale.setlocale(locale.LC_NUMERIC)",
    ],
    "options of scikit-learn": [
        "N import sklearn\nfrom sklearn.linear_model import LinearRegression\n"
        "from sklearn.preprocessing import StandardScaler\nimport pandas as pd\n"
        "sklearn.set_config(display='text', transform_output='pandas', print_changed_only=False)",
        "R LinearRegression()",
        "R type(StandardScaler().fit_transform(pd.DataFrame({'a': [1.0, 2.0]}))).__name__",
        "R sklearn.set_config(transform_output='default')",
        "N type(StandardScaler().fit_transform(pd.DataFrame({'a': [1.0, 2.0]}))).__name__, LinearRegression()",
    ],
    "plotly's template": [
        "N import plotly.io as pio\npio.templates.default = 'plotly_dark'",
        "R import plotly.graph_objects as go\npio.templates.default, 'paper_bgcolor' in str(go.Figure().layout.template)",
        "R pio.templates.default = 'ggplot2'",
        "N pio.templates.default",
    ],
    "torch's switches of cuDNN and attention": [
        "N import torch\ntorch.backends.cudnn.allow_tf32 = False\ntorch.backends.cuda.enable_flash_sdp(False)",
        "R torch.backends.cudnn.allow_tf32, torch.backends.cudnn.enabled, torch.backends.cuda.flash_sdp_enabled()",
        "R torch.backends.cudnn.enabled = False\ntorch.backends.cuda.enable_flash_sdp(True)",
        "N torch.backends.cudnn.allow_tf32, torch.backends.cudnn.enabled, torch.backends.cuda.flash_sdp_enabled()",
    ],
    "the recursion limit": [
        "N import sys\nsys.setrecursionlimit(2500)",
        "R sys.getrecursionlimit()",
        "R sys.setrecursionlimit(3000)",
        "N sys.getrecursionlimit()",
    ],
}


INHERITED = {"MGT_INHERITED": "inherited"}
"""A variable that the kernels inherit from whoever starts them."""


@pytest.fixture(scope="module")
def native() -> Iterator[Kernel]:
    with Kernel(env=INHERITED) as kernel:
        yield kernel


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with Kernel(env=INHERITED) as kernel:
        kernel.load()
        yield kernel


@pytest.mark.parametrize("cells", CASES.values(), ids=CASES.keys())
def test_a_state_is_the_same_on_both_sides(cells: list[str], pair: Pair) -> None:
    pair.sides(cells)
