"""Files beside the notebook: read, written, listed and run on either side."""

from __future__ import annotations

from typing import Final

CLEAN = "END> import shutil, os, glob; [shutil.rmtree(p, True) if os.path.isdir(p) else os.remove(p) for p in glob.glob('fx_*') + glob.glob('../fx_*')]"

CASES: Final = {
    "a literal path": f"""
N> _ = open("fx_a.txt", "w").write("one")
R> print(open("fx_a.txt").read())
N> _ = open("fx_a.txt", "w").write("two")
R> print(open("fx_a.txt").read())
{CLEAN}
""",
    "a path above": f"""
N> import os; os.makedirs("../fx_data", exist_ok=True); _ = open("../fx_data/x.csv", "w").write("a,b\\n1,2\\n")
R> import pandas as pd; print(pd.read_csv("../fx_data/x.csv"))
R> print(open("../fx_data/x.csv").read(), os.path.exists("../fx_data/x.csv"))
{CLEAN}
""",
    "a glob": f"""
N>
import os; os.makedirs("fx_dir", exist_ok=True)
for i in range(3): _ = open(f"fx_dir/{{i}}.csv", "w").write(str(i))
R>
from glob import glob
print(sorted(glob("fx_dir/*.csv")), sum(int(open(p).read()) for p in glob("fx_dir/*.csv")))
{CLEAN}
""",
    "iterdir": f"""
N>
from pathlib import Path
Path("fx_dir2").mkdir(exist_ok=True)
for name in "ba": _ = Path("fx_dir2", name).write_text(name * 2)
R> print(sorted(p.name for p in Path("fx_dir2").iterdir()), [p.read_text() for p in sorted(Path("fx_dir2").iterdir())])
{CLEAN}
""",
    "a path made by an f-string": f"""
N>
import os; os.makedirs("fx_f", exist_ok=True)
for fold in range(2): _ = open(f"fx_f/fold{{fold}}.txt", "w").write(f"fold {{fold}}")
R>
for fold in range(2): print(open(f"fx_f/fold{{fold}}.txt").read())
{CLEAN}
""",
    "a path in a variable": f"""
N> root = "fx_v"; import os; os.makedirs(root, exist_ok=True); path = os.path.join(root, "a.txt"); _ = open(path, "w").write("v")
R> print(open(path).read(), os.listdir(root))
N> from pathlib import Path; p = Path(root) / "b.txt"; _ = p.write_text("w")
R> print(p.read_text(), p.exists())
{CLEAN}
""",
    "a file written there": f"""
R> _ = open("fx_out.txt", "w").write("made there")
R> print(open("fx_out.txt").read())
R>
with open("fx_out.txt", "a") as f: _ = f.write("!")
R> print(open("fx_out.txt").read())
{CLEAN}
""",
    "the working directory holds no file of ours": """
R> import os; print([n for n in os.listdir(".") if "modal" in n or n.startswith(".")], os.path.isdir("modal_gpu_magic"))
R> from pathlib import Path; print([p.name for p in Path(".").glob("*.py") if "modal" in p.name])
""",
    "a script and its module": f"""
N>
_ = open("fx_helper.py", "w").write("def hi(): return 'hi'\\n")
_ = open("fx_main.py", "w").write("import fx_helper, sys\\nprint(fx_helper.hi(), sys.argv[1:])\\n")
R> !python fx_main.py a b
R> import subprocess, sys; print(subprocess.run([sys.executable, "fx_main.py"], capture_output=True, text=True).stdout)
{CLEAN}
""",
    "a script, its modules' modules and its data": f"""
N>
import os; os.makedirs("fx_pkg", exist_ok=True)
_ = open("fx_pkg/__init__.py", "w").write("from fx_pkg.core import load\\n")
_ = open("fx_pkg/core.py", "w").write("def load(): return open('fx_in.txt').read()\\n")
_ = open("fx_in.txt", "w").write("data")
_ = open("fx_run.py", "w").write("from fx_pkg import load\\nprint(load())\\n")
R> !python fx_run.py
N> _ = open("fx_in.txt", "w").write("newer")
R> !python fx_run.py
{CLEAN}
""",
    "the run magic": f"""
N>
_ = open("fx_lib2.py", "w").write("base = 10\\n")
_ = open("fx_job.py", "w").write("from fx_lib2 import base\\nresult = base + 1\\nprint('ran', __name__)\\n")
R> %run fx_job.py
R> print(result)
N> print(result)
{CLEAN}
""",
    "a module is edited and loaded anew": f"""
N> _ = open("fx_mod.py", "w").write("def f(): return 1\\n")
R> import fx_mod; print(fx_mod.f())
N> _ = open("fx_mod.py", "w").write("def f(): return 'edited'\\n")
R> import importlib; _ = importlib.reload(fx_mod); print(fx_mod.f())
N> print(importlib.reload(fx_mod).f())
{CLEAN}
END> import sys; sys.modules.pop("fx_mod", None)
""",
    "a missing file": """
R!> open("fx_missing.txt")
R> import os; print(os.path.exists("fx_missing.txt"))
""",
    "json and numpy files": f"""
N>
import json, numpy as np
json.dump({{"a": 1}}, open("fx_c.json", "w")); np.save("fx_n.npy", np.arange(3))
R> print(json.load(open("fx_c.json")), np.load("fx_n.npy"))
N> np.save("fx_n.npy", np.arange(5))
R> print(np.load("fx_n.npy"))
{CLEAN}
""",
    "writefile there": f"""
R>
%%writefile fx_w.py
x = 1
R> print(open("fx_w.py").read())
{CLEAN}
""",
    "a file is deleted here": f"""
N> _ = open("fx_del.txt", "w").write("x")
R> print(open("fx_del.txt").read())
N> import os; os.remove("fx_del.txt")
R!> print(open("fx_del.txt").read())
{CLEAN}
""",
    "walk": f"""
N>
import os; os.makedirs("fx_tree/a", exist_ok=True); _ = open("fx_tree/a/1.txt", "w").write("1"); _ = open("fx_tree/0.txt", "w").write("0")
R>
for root, dirs, names in os.walk("fx_tree"): print(root, dirs, names)
{CLEAN}
""",
}
