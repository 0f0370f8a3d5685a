"""The process around the values: seeds, environment, paths, options, filters, levels."""

from __future__ import annotations

from typing import Final

CASES: Final = {
    "random is seeded here": """
N> import random; random.seed(1); print(random.random())
R> print(random.random())
N> print(random.random())
R> print(random.random())
""",
    "random is seeded there": """
N> import random
R> random.seed(2); print(random.random())
N> print(random.random())
R> print(random.sample(range(100), 3))
N> print(random.sample(range(100), 3))
""",
    "random's functions by name": """
N> from random import random, seed, choice; seed(3); print(random())
R> print(random(), choice([1, 2, 3, 4, 5, 6, 7]))
N> print(random())
""",
    "numpy is seeded here": """
N> import numpy as np; np.random.seed(1); print(np.random.rand())
R> print(np.random.rand())
N> print(np.random.rand(), np.random.permutation(5))
R> print(np.random.permutation(5))
""",
    "numpy is seeded there": """
N> import numpy as np
R> np.random.seed(4); x = np.random.rand(2)
N> print(x, np.random.rand())
R> print(np.random.rand())
""",
    "numpy's functions by name": """
N> from numpy.random import rand, seed; seed(5); print(rand())
R> print(rand())
N> print(rand())
R>
from numpy.random import randint
print(randint(100))
N> print(randint(100))
""",
    "torch is seeded here": """
N> import torch; torch.manual_seed(1); print(torch.rand(1))
R> print(torch.rand(1))
N> print(torch.rand(1), torch.randperm(4))
R> print(torch.randperm(4), torch.initial_seed())
""",
    "torch is seeded there": """
R> import torch; torch.manual_seed(6); a = torch.rand(1)
N> print(a, torch.rand(1))
R> print(torch.rand(1))
N> print(torch.rand(1))
""",
    "a function seeds all": """
N>
import random, numpy as np, torch
def seed_everything(n): random.seed(n); np.random.seed(n); torch.manual_seed(n)
def draw(): return round(random.random(), 6), round(float(np.random.rand()), 6), round(torch.rand(1).item(), 6)
R> seed_everything(7); print(draw())
N> print(draw())
R> print(draw())
N> seed_everything(8)
R> print(draw())
N> print(draw())
""",
    "a cell that draws nothing does not move the generator": """
N> import random; random.seed(9); print(random.random())
R> x = 1
N> print(random.random())
R> random.getstate() and None
N> print(random.random())
""",
    "an environment variable is set here": """
N> import os; os.environ["MY_FLAG"] = "1"
R> print(os.environ.get("MY_FLAG"), os.getenv("MY_FLAG"))
N> os.environ["MY_FLAG"] = "2"
R> import subprocess; print(subprocess.run("echo $MY_FLAG", shell=True, capture_output=True, text=True).stdout)
N> del os.environ["MY_FLAG"]
R> print(os.environ.get("MY_FLAG"))
END> import os; os.environ.pop("MY_FLAG", None)
""",
    "an environment variable is set there": """
R> import os; os.environ["THEIR_FLAG"] = "x"
N> print(os.environ.get("THEIR_FLAG"))
R> print(os.environ["THEIR_FLAG"]); del os.environ["THEIR_FLAG"]
N> print(os.environ.get("THEIR_FLAG"))
END> import os; os.environ.pop("THEIR_FLAG", None)
""",
    "the env magic": """
N> %env MAGIC_FLAG=on
R> import os; print(os.environ["MAGIC_FLAG"])
R> %env MAGIC_FLAG
END> import os; os.environ.pop("MAGIC_FLAG", None)
""",
    "sys.path is edited here": """
N>
import os, sys, tempfile
lib = tempfile.mkdtemp(); sys.path.insert(0, lib)
_ = open(os.path.join(lib, "mod_by_path.py"), "w").write("value = 5\\n")
R> import mod_by_path; print(mod_by_path.value, lib in sys.path)
N> import mod_by_path; print(mod_by_path.value)
END> import os, sys; sys.path[:] = [p for p in sys.path if not os.path.isfile(os.path.join(p, "mod_by_path.py"))]; sys.modules.pop("mod_by_path", None)
""",
    "sys.path is edited there": """
R> import sys; sys.path.append("/opt/nothing")
N> print("/opt/nothing" in sys.path)
R> print(sys.path.count("/opt/nothing")); sys.path.remove("/opt/nothing")
N> print("/opt/nothing" in sys.path)
END>
import sys
while "/opt/nothing" in sys.path: sys.path.remove("/opt/nothing")
""",
    "the working directory": """
N> import os; home = os.getcwd(); os.makedirs("sub_dir", exist_ok=True); os.chdir("sub_dir"); print(os.path.basename(os.getcwd()))
R> print(os.path.basename(os.getcwd()))
N> os.chdir("..")
R> print(os.path.basename(os.getcwd()))
END>
import os
if os.path.basename(os.getcwd()) == "sub_dir": os.chdir("..")
""",
    "the working directory, changed there": """
R> import os; start = os.path.basename(os.getcwd()); os.makedirs("sub_there", exist_ok=True); os.chdir("sub_there")
R> print(os.path.basename(os.getcwd())); os.chdir("..")
R> print(os.path.basename(os.getcwd()) == start)
END>
import os
if os.path.basename(os.getcwd()) == "sub_there": os.chdir("..")
""",
    "torch's default dtype": """
N> import torch; torch.set_default_dtype(torch.float64)
R> print(torch.ones(1).dtype, torch.get_default_dtype())
R> torch.set_default_dtype(torch.float32)
N> print(torch.ones(1).dtype)
END> import torch; torch.set_default_dtype(torch.float32)
""",
    "torch's print options": """
N> import torch; torch.set_printoptions(precision=2)
R> print(torch.tensor([1 / 3]))
R> torch.set_printoptions(profile="default")
N> print(torch.tensor([1 / 3]))
END> import torch; torch.set_printoptions(profile="default")
""",
    "torch's grad mode": """
N> import torch; _ = torch.set_grad_enabled(False); w = torch.ones(1, requires_grad=True)
R> print((w * 2).requires_grad, torch.is_grad_enabled())
R> _ = torch.set_grad_enabled(True)
N> print((w * 2).requires_grad)
END> import torch; torch.set_grad_enabled(True)
""",
    "deterministic algorithms": """
N> import torch; torch.use_deterministic_algorithms(True)
R> print(torch.are_deterministic_algorithms_enabled()); torch.use_deterministic_algorithms(False)
N> print(torch.are_deterministic_algorithms_enabled())
END> import torch; torch.use_deterministic_algorithms(False)
""",
    "numpy's print options": """
N> import numpy as np; np.set_printoptions(precision=2, suppress=True)
R> print(np.array([1 / 3, 1e-9]))
R> np.set_printoptions(precision=4)
N> print(np.array([1 / 3]))
END> import numpy as np; np.set_printoptions(precision=8, suppress=False)
""",
    "numpy's error handling": """
N> import numpy as np; _ = np.seterr(all="raise")
R!> np.float64(1) / np.float64(0)
R> _ = np.seterr(all="ignore")
N> print(np.array([1.]) / 0)
END> import numpy as np; np.seterr(all="warn")
""",
    "pandas' options": """
N> import pandas as pd; pd.set_option("display.max_rows", 4); pd.options.display.precision = 1
R> print(pd.DataFrame({"a": [x / 3 for x in range(9)]}))
R> pd.set_option("display.max_columns", 2)
N> print(pd.get_option("display.max_columns"), pd.DataFrame([[1, 2, 3, 4]]))
END> import pandas as pd; pd.reset_option("display")
""",
    "rcParams": """
N> import matplotlib.pyplot as plt; plt.rcParams["figure.figsize"] = (3, 1); plt.rcParams["lines.linewidth"] = 5
R> print(plt.rcParams["figure.figsize"], plt.figure().get_size_inches(), plt.plot([1])[0].get_linewidth()); plt.close("all")
R> plt.rcParams["axes.grid"] = True
N> print(plt.rcParams["axes.grid"])
END> import matplotlib; matplotlib.rcdefaults()
""",
    "a style": """
N> import matplotlib.pyplot as plt; plt.style.use("ggplot")
R> print(plt.rcParams["axes.facecolor"], plt.rcParams["axes.prop_cycle"].by_key()["color"][0])
END> import matplotlib; matplotlib.rcdefaults()
""",
    "a backend that shows no figures": """
N> import matplotlib; matplotlib.use("agg"); import matplotlib.pyplot as plt
R> _ = plt.plot([1, 2]); print(plt.get_backend(), plt.get_fignums())
R> print(len(plt.gca().lines)); plt.close("all"); plt.switch_backend("svg")
N> print(plt.get_backend()); _ = plt.plot([3]); print(plt.get_fignums()); plt.close("all")
N> get_ipython().run_line_magic("matplotlib", "inline")
R> _ = plt.plot([1, 2])
R> print(plt.get_fignums())
END> import matplotlib; matplotlib.use("module://matplotlib_inline.backend_inline")
""",
    "warnings are ignored from here on": """
N> import warnings; warnings.filterwarnings("ignore", message="old")
R> warnings.warn("old thing"); print("quiet")
R> warnings.simplefilter("error", RuntimeWarning)
N!> warnings.warn("x", RuntimeWarning)
""",
    "a warning is shown": """
R> import warnings; warnings.warn("careful", UserWarning)
N> warnings.warn("careful here", UserWarning)
R>
def f(): warnings.warn("deprecated", DeprecationWarning, stacklevel=2)
f()
""",
    "logging levels": """
N>
import logging, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(levelname)s %(message)s", force=True); log = logging.getLogger("train")
R> log.info("there"); log.debug("hidden"); print(log.getEffectiveLevel())
N> log.setLevel(logging.ERROR)
R> log.info("silent"); log.error("loud")
N> log.warning("silent"); log.error("loud here")
END> import logging; logging.basicConfig(level=logging.WARNING, force=True); logging.getLogger("train").setLevel(logging.NOTSET)
""",
    "a logger's own handler, formatter and filter": """
N>
import logging, sys
got = []
class Keep(logging.Handler):
    def emit(self, record): got.append(record.getMessage())
class Short(logging.Formatter):
    def format(self, record): return f"<{record.getMessage()}>"
log = logging.getLogger("own.part"); log.setLevel(logging.INFO); log.propagate = True; log.run = 1
logging.getLogger("own").addHandler(Keep())
log.addHandler(logging.StreamHandler(sys.stdout)); log.handlers[0].setFormatter(Short())
log.handlers[0].addFilter(lambda record: "quiet" not in record.getMessage())
log.addFilter(lambda record: "never" not in record.getMessage())
R> log.info("there"); log.info("quiet there"); log.info("never"); print(got, log.run)
N> log.info("here"); log.info("never"); print(got, len(log.handlers), len(log.filters))
R> log.handlers.clear(); log.filters.clear(); log.info("last"); log.info("never but now"); print(got)
N> log.info("here again"); print(got, log.handlers); logging.getLogger("own").handlers.clear()
R> log.info("unheard"); print(got)
""",
    "a logger's own handler, made there": """
R>
import logging
got = []
class Keep(logging.Handler):
    def emit(self, record): got.append(record.getMessage())
log = logging.getLogger("made"); log.setLevel(logging.INFO); log.propagate = False; log.addHandler(Keep()); log.info("there")
N> log.info("here"); print(got, len(log.handlers))
R> log.info("there again"); print(got, len(log.handlers)); log.handlers.clear()
N> log.warning("unheard"); print(got, log.handlers); log.propagate = True; log.setLevel(logging.NOTSET)
""",
    "names of levels and warnings in the log": """
N> import logging, sys, warnings; logging.addLevelName(25, "NOTE"); log = logging.getLogger("levels"); log.setLevel(20)
handler = logging.StreamHandler(sys.stdout); handler.setFormatter(logging.Formatter("%(levelname)s %(message)s")); log.addHandler(handler)
R> log.log(25, "there"); logging.addLevelName(15, "FINE"); logging.captureWarnings(True)
N> log.log(25, "here"); print(logging.getLevelName(15), warnings.showwarning.__module__); logging.captureWarnings(False)
R> print(logging.getLevelName(15), warnings.showwarning is logging._warnings_showwarning)
END> import logging; logging.getLogger("levels").handlers.clear()
""",
    "how processes start and share tensors": """
N> import multiprocessing, torch.multiprocessing as shared; multiprocessing.set_start_method("spawn", force=True)
R> print(multiprocessing.get_start_method(), shared.get_sharing_strategy()); shared.set_sharing_strategy("file_system")
N> print(shared.get_sharing_strategy()); multiprocessing.set_start_method("fork", force=True)
R> print(multiprocessing.get_start_method(), shared.get_sharing_strategy()); shared.set_sharing_strategy("file_descriptor")
N> print(shared.get_sharing_strategy())
""",
    "figures that are not shown by themselves": """
N> import matplotlib.pyplot as plt; plt.plot([1]); None
R> print(plt.isinteractive()); plt.ioff(); plt.plot([2]); plt.close("all")
N> print(plt.isinteractive()); first = plt.figure()
R> print(plt.isinteractive()); plt.plot([4]); plt.show(); plt.ion(); None
N> plt.close("all")
N> print(plt.isinteractive()); plt.plot([5]); None
R> plt.plot([6]); None
END> import matplotlib.pyplot as plt; plt.ion(); plt.close("all")
""",
    "a figure that is made without being shown": """
N> import matplotlib.pyplot as plt; plt.plot([1]); None
R>
with plt.ioff():
    figure = plt.figure(); axes = figure.add_subplot()
N> axes.plot([1, 2]); print(plt.get_fignums() == [figure.number])
R> axes.set_title("there"); print(len(axes.lines))
N> display(figure); plt.close(figure)
R> print(axes.get_title(), len(axes.lines), plt.get_fignums())
N> plt.plot([3]); None
R>
with plt.ioff():
    figure = plt.figure()
N> print(plt.fignum_exists(figure.number))
R> plt.close(figure); figure.set_size_inches(2, 2)
N> print(figure.get_size_inches()); plt.plot([4]); None
END> import matplotlib.pyplot as plt; plt.close("all")
""",
    "a logger's level is set there": """
R> import logging; logging.getLogger("lib.a").setLevel(logging.DEBUG)
N> import logging; print(logging.getLogger("lib.a").level, logging.getLogger("lib").level)
N> logging.disable(logging.INFO)
R> print(logging.getLogger("lib.a").isEnabledFor(logging.INFO)); logging.disable(logging.NOTSET)
N> print(logging.getLogger("lib.a").isEnabledFor(logging.INFO))
END> import logging; logging.disable(logging.NOTSET); logging.getLogger("lib.a").setLevel(logging.NOTSET)
""",
    "recursion limit and decimal context": """
N> import sys, decimal; sys.setrecursionlimit(5000); decimal.getcontext().prec = 5
R> print(sys.getrecursionlimit(), decimal.Decimal(1) / 3)
N> print(decimal.Decimal(2) / 3)
END> import sys, decimal; sys.setrecursionlimit(3000); decimal.getcontext().prec = 28
""",
    "the locale of nothing and the time zone": """
N> import os, time; os.environ["TZ"] = "Asia/Tokyo"; time.tzset()
R> print(time.strftime("%H", time.localtime(0)), os.environ["TZ"])
END> import os, time; os.environ.pop("TZ", None); time.tzset()
""",
    "an import there is usable here": """
R> import colorsys, json as js; from textwrap import dedent as dd
N> print(colorsys.rgb_to_hsv(0, 0, 1), js.dumps({}), dd("  x"))
R> print(js.loads("[1]"))
""",
    "an import there runs nothing here": """
N> import os; _ = open("noisy_mod.py", "w").write("print('imported')\\nvalue = 1\\n")
R> import noisy_mod; print(noisy_mod.value)
R> print(noisy_mod.value + 1)
END> import sys, os; sys.modules.pop("noisy_mod", None); os.path.exists("noisy_mod.py") and os.remove("noisy_mod.py")
""",
}
