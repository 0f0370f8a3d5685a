"""What cells show: displays, captures, progress, figures, questions."""

from __future__ import annotations

from typing import Final

PLT = "import matplotlib.pyplot as plt"

CASES: Final = {
    "the last expression": """
N> d = {"a": [1, 2]}
R> d
R> d["a"];
R> [d, None]
R> None
""",
    "all results": """
N> 6 * 7
N> [1]
R> Out[max(Out)].append(2); Out[max(Out)], Out[max(Out) - 1], Out is _oh
N> Out[max(Out) - 1], _
R> 3
R> Out[max(Out)], Out[max(Out) - 3], Out[max(Out) - 4]
""",
    "Out and underscore": """
N> 40 + 2
R> _
R> 7 * 6
N> _ + 1
""",
    "display and update": """
R> from IPython.display import display, HTML; h = display(HTML("<b>1</b>"), display_id="cases-1"); display("x")
R> h.update(HTML("<b>2</b>"))
N> h.update(HTML("<b>3</b>"))
""",
    "clear_output as the last act": """
R>
from IPython.display import clear_output
print("one"); clear_output(wait=True)
R>
for i in range(3): clear_output(wait=True); print(i)
N> print("after")
""",
    "streams": """
R>
import sys
print("out"); print("err", file=sys.stderr); sys.stdout.write("no newline")
N> print("next")
""",
    "capture there": """
R>
import io, contextlib
buf = io.StringIO()
with contextlib.redirect_stdout(buf): print("hidden")
N> print(repr(buf.getvalue()))
""",
    "capture magic": """
R>
%%capture cap
print("inside"); 5
N> print(repr(cap.stdout), len(cap.outputs))
""",
    "time and timeit": """
R> %time x = sum(range(10))
N> print(x)
R>
%%time
y = x + 1
N> print(y)
""",
    "repr of one's own": """
N>
class T:
    def __init__(self): self.shown = 0
    def _repr_html_(self): self.shown += 1; return "<i>t</i>"
    def __repr__(self): return "T"
t = T()
R> t
N> print(t.shown)
R> t
N> print(t.shown)
""",
    "a figure": f"""
R>
{PLT}
plt.figure(figsize=(1, 1)); plt.plot([1, 2]); plt.show()
N> print(plt.get_fignums())
""",
    "a figure of a failing cell": f"""
R!>
{PLT}
plt.figure(figsize=(1, 1)); plt.plot([1, 2])
1 / 0
N> print(plt.get_fignums())
""",
    "an output widget": """
N> import ipywidgets as w; out = w.Output()
R>
with out: print("caught", out.msg_id != "")
print("shown", out.msg_id == "")
N> print(len(out.outputs), type(out).__name__)
""",
    "an output widget captures an error": """
N> import ipywidgets as w; out = w.Output()
R>
print("before")
with out:
    print("in"); 1 / 0
print("after")
""",
    "a capture decorator": """
N> import ipywidgets as w; out = w.Output()
R>
@out.capture()
def f(): print("quiet", out.msg_id != "")
f(); print("loud")
""",
    "rich prints a table": """
R>
from rich import print as rprint
from rich.table import Table
table = Table("a", "b"); table.add_row("1", "2"); rprint(table)
N> table.add_row("3", "4"); rprint(table)
""",
    "a plotly figure": """
R>
import plotly.graph_objects as go
fig = go.Figure(data=[go.Bar(x=[1], y=[2])]); fig.show()
R> fig.update_layout(title="t")
N> print(fig.layout.title.text, len(fig.data)); fig
""",
    "the shell is a notebook's": """
R> print(type(get_ipython()).__module__, type(get_ipython()).__name__, get_ipython() is not None)
R> import plotly.io as pio; print(pio.renderers.default)
""",
    "a display hook of a type": """
R>
import pandas as pd
df = pd.DataFrame({"a": [1.23456]}); df
R> df.style.format("{:.1f}").to_string()
N> df
""",
    "a shell's output": """
R> !echo one; echo two
R> lines = !printf 'a\\nb\\n'
N> print(lines)
R>
%%bash
echo from bash
""",
    "history": """
N> first = 1
R> second = 2
R> print(len(In) > 2, "second" in In[-2])
N> print("second" in In[-2] or "second" in In[-3])
""",
    "top-level await": """
N>
import asyncio
async def work(x): await asyncio.sleep(0); return x * 2
R> v = await work(4); print(v)
N> print(await work(v))
R> print(await asyncio.gather(work(1), work(2)))
""",
    "tqdm": """
R>
from tqdm import tqdm
import sys
total = 0
for i in tqdm(range(3), file=sys.stdout, disable=True): total += i
N> print(total)
""",
}
