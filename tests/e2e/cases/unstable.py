"""Values whose pickle differs each time: figures, groups, indices with caches, estimators."""

from __future__ import annotations

from typing import Final

PLT = "import matplotlib.pyplot as plt"

CASES: Final = {
    "a figure is drawn on in a later cell": f"""
R>
{PLT}
fig, ax = plt.subplots(figsize=(2, 2)); plt.close(fig)
R> ax.plot([1, 2]);
R> print(len(ax.lines), len(fig.axes[0].lines), fig.axes[0] is ax)
N> print(len(ax.lines), len(fig.axes[0].lines), fig.axes[0] is ax)
""",
    "a figure made here, drawn on there": f"""
N>
{PLT}
fig, ax = plt.subplots(figsize=(2, 2)); plt.close(fig); same = fig
R> ax.set_title("there"); ax.bar([1], [2]);
N> print(ax.get_title(), len(ax.patches), fig.axes[0] is ax, same is fig); ax.set_xlabel("here")
R> print(ax.get_title(), ax.get_xlabel(), fig.axes[0] is ax)
""",
    "a figure is read only": f"""
N>
{PLT}
fig, ax = plt.subplots(figsize=(2, 2)); plt.close(fig); keep = (fig, ax)
R> print(len(fig.axes))
N> ax.plot([1]); print(keep[0] is fig, keep[1] is ax, len(fig.axes[0].lines))
R> print(len(ax.lines))
N> print(len(keep[1].lines), keep[0].axes[0] is ax)
""",
    "axes in an array": f"""
N>
{PLT}
fig, axes = plt.subplots(1, 2, figsize=(2, 2)); plt.close(fig)
R>
for i, ax in enumerate(axes): ax.plot(range(i + 2));
N> print([len(ax.lines[0].get_xdata()) for ax in axes], fig.axes[1] is axes[1])
R> print([len(a.lines) for a in fig.axes], fig.axes[0] is axes[0])
""",
    "a line's data are set": f"""
N>
{PLT}
fig, ax = plt.subplots(figsize=(2, 2)); plt.close(fig); (line,) = ax.plot([0], [0])
R> line.set_data([1, 2], [3, 4])
N> print(ax.lines[0].get_ydata(), ax.lines[0] is line)
R> print(ax.lines[0] is line, line.get_xdata())
""",
    "a group-by": """
N>
import pandas as pd
df = pd.DataFrame({"k": list("aab"), "v": [1, 2, 3]}); groups = df.groupby("k"); keep = groups
R> print(groups.v.sum().to_dict())
N> print(keep is groups, groups.v.mean().to_dict(), len(groups))
R> print(groups.get_group("a").v.tolist(), groups.ngroups)
""",
    "a frame with a DatetimeIndex": """
N>
import pandas as pd
ts = pd.DataFrame({"v": range(4)}, index=pd.date_range("2024-01-01", periods=4, freq="D")); raw = ts
R> print(ts.loc["2024-01-02":"2024-01-03"].v.sum(), ts.index.is_monotonic_increasing)
N> print(raw is ts, ts.index.freq)
R> ts["w"] = ts.v.rolling(2).sum()
N> print(raw is ts, raw.w.tolist(), ts.loc["2024-01-03"].tolist())
""",
    "a frame's cached index lookups": """
N>
import pandas as pd
df = pd.DataFrame({"v": [1, 2]}, index=["a", "b"]); raw = df; df.loc["a"]
R> print(df.loc["b"].v, df.index.get_loc("a"), df.index.is_unique)
N> print(raw is df); df.loc["c"] = 5
R> print(df.index.tolist(), df.loc["c"].v)
N> print(raw is df)
""",
    "a rolling object": """
N> import pandas as pd; s = pd.Series([1., 2., 3.]); roll = s.rolling(2); keep = [roll]
R> print(roll.mean().tolist())
N> print(keep[0] is roll, roll.sum().tolist())
""",
    "a set of texts": """
N> words = {"pear", "apple", "fig", "kiwi", "plum"}; keep = words
R> print(sorted(words), "fig" in words)
N> print(keep is words); words.add("lime")
R> print(len(words)); words.discard("pear")
N> print(sorted(keep), keep is words)
""",
    "an estimator with caches": """
N>
import numpy as np
from sklearn.neighbors import KNeighborsClassifier
X = np.array([[0.], [1.], [2.], [3.]]); y = [0, 0, 1, 1]; knn = KNeighborsClassifier(1).fit(X, y); keep = knn
R> print(knn.predict([[.4], [2.6]]))
N> print(keep is knn, knn.predict([[1.2]]))
R> knn.n_neighbors = 3; print(knn.predict([[1.2]]))
N> print(keep.n_neighbors, keep is knn)
""",
    "a value with a counter in its state": """
N>
import itertools
ticket = itertools.count()
class Odd:
    def __init__(self): self.rows = []
    def __getstate__(self): return {"rows": self.rows, "ticket": next(ticket)}
odd = Odd(); keep = odd
R> print(odd.rows)
N> odd.rows.append(1); print(keep is odd)
R> print(odd.rows); odd.rows.append(2)
N> print(keep.rows, keep is odd)
""",
    "a value that keeps the time of its pickling": """
N>
import time
class Stamped:
    def __init__(self): self.v = 1
    def __reduce__(self): return make, (self.v, time.time_ns())
def make(v, t):
    s = Stamped(); s.v = v; return s
s = Stamped(); alias = [s]
R> print(s.v)
N> s.v = 2; print(alias[0] is s)
R> print(s.v, alias[0] is s)
N> print(alias[0].v, alias[0] is s)
""",
    "a random generator object": """
N> import numpy as np, random; rng = np.random.default_rng(1); r = random.Random(1); keep = rng
R> a = rng.random(); b = r.random()
N> print(a, b, rng.random(), r.random(), keep is rng)
R> print(rng.integers(100), r.randint(0, 100))
N> print(rng.integers(100), keep is rng)
""",
    "a torch generator object": """
N> import torch; g = torch.Generator().manual_seed(3); torch.set_num_threads(1)
R> print(torch.randn(2, generator=g))
N> print(torch.randn(2, generator=g))
R> print(torch.randn(2, generator=g))
""",
}
