"""Objects that hold a model together with its optimizer, data, callbacks and history."""

from __future__ import annotations

from typing import Final

BASE = """
import torch; from torch import nn
torch.set_num_threads(1)
class Trainer:
    def __init__(self, model, opt, log):
        self.model, self.opt, self.log, self.epoch = model, opt, log, 0
    def fit(self, n=1):
        for _ in range(n):
            self.opt.zero_grad(); loss = (self.model(X) - 1).pow(2).mean(); loss.backward(); self.opt.step()
            self.epoch += 1; self.log.append(round(loss.item(), 4))
X = torch.ones(4, 2); torch.manual_seed(0)
model = nn.Linear(2, 1); opt = torch.optim.SGD(model.parameters(), lr=.1); log = []
"""

CASES: Final = {
    "a trainer made here fits there": f"""
N>{BASE}
trainer = Trainer(model, opt, log)
R> trainer.fit(2)
N> print(log, trainer.epoch, trainer.model is model, trainer.opt is opt, round(model(X)[0].item(), 4))
R> trainer.fit(); print(log, opt.param_groups[0]["params"][0] is model.weight)
N> trainer.fit(); print(log)
""",
    "a trainer made there of parts made here": f"""
N>{BASE}
R> trainer = Trainer(model, opt, log); trainer.fit()
N> print(log, trainer.log is log, trainer.model is model); trainer.fit()
R> trainer.fit(); print(log)
N> print(round(model(X)[0].item(), 4), trainer.epoch)
""",
    "all parts made there, fit here": f"""
R>{BASE}
trainer = Trainer(model, opt, log); trainer.fit()
N> trainer.fit(); print(log, trainer.model is model)
R> trainer.fit(); print(log, trainer.log is log)
N> print(log, round(model.weight.sum().item(), 4))
""",
    "the class is defined anew between": f"""
N>{BASE}
trainer = Trainer(model, opt, log)
R> trainer.fit()
N>
class Trainer(Trainer):
    def fit(self, n=1): super().fit(n); self.log.append("new")
R> trainer2 = Trainer(model, opt, trainer.log); trainer2.fit()
N> print(log, type(trainer).__mro__[0] is type(trainer2).__mro__[1])
""",
    "callbacks get the trainer": f"""
N>{BASE}
class Callback:
    def __init__(self): self.seen = []
    def end(self, trainer): self.seen.append((trainer.epoch, trainer.log[-1]))
class T(Trainer):
    callbacks = []
    def fit(self, n=1):
        for _ in range(n):
            super().fit()
            for cb in self.callbacks: cb.end(self)
cb = Callback(); t = T(model, opt, log); t.callbacks.append(cb)
R> t.fit(2)
N> print(cb.seen, t.callbacks[0] is cb)
R> t.fit()
N> print(cb.seen, T.callbacks is t.callbacks)
""",
    "two trainers share one model": f"""
N>{BASE}
a = Trainer(model, opt, log); b = Trainer(model, torch.optim.SGD(model.parameters(), lr=.5), [])
R> a.fit()
N> b.fit(); print(a.log, b.log)
R> a.fit(); b.fit(); print(a.log, b.log, a.model is b.model)
N> print(round(model.weight.sum().item(), 4))
""",
    "a configuration is read at every step": f"""
N>{BASE}
from dataclasses import dataclass
@dataclass
class Cfg: lr: float = .1
cfg = Cfg()
class T(Trainer):
    def __init__(self, cfg, *parts): super().__init__(*parts); self.cfg = cfg
    def fit(self, n=1):
        for group in self.opt.param_groups: group["lr"] = self.cfg.lr
        super().fit(n)
t = T(cfg, model, opt, log)
R> t.fit()
N> cfg.lr = .5
R> t.fit(); print(opt.param_groups[0]["lr"])
R> cfg.lr = .01
N> t.fit(); print(log, t.cfg is cfg, opt.param_groups[0]["lr"])
""",
    "the optimizer is made anew": f"""
N>{BASE}
trainer = Trainer(model, opt, log)
R> trainer.fit()
N> opt = trainer.opt = torch.optim.Adam(model.parameters(), lr=.1)
R> trainer.fit(2); print(trainer.opt is opt, len(opt.state))
N> print(log, len(opt.state), round(model.weight.sum().item(), 4))
""",
    "a generator of batches in the trainer": """
REFUSED: feed
N>
class Feed:
    def __init__(self): self.gen = (i for i in range(5))
    def next(self): return next(self.gen)
feed = Feed(); feed.next()
R> print(feed.next())
N> print(feed.next())
""",
    "two models, one optimizer": """
N>
import torch; from torch import nn
torch.manual_seed(0); torch.set_num_threads(1)
G, D = nn.Linear(2, 2), nn.Linear(2, 1); og, od = torch.optim.Adam(G.parameters()), torch.optim.Adam(D.parameters()); z = torch.ones(3, 2)
def train():
    od.zero_grad(); D(G(z).detach()).mean().backward(); od.step()
    og.zero_grad(); (-D(G(z)).mean()).backward(); og.step()
R> train()
N> print(D(G(z)).mean().item()); train()
R> train(); print(D(G(z)).mean().item())
N> print(D(G(z)).mean().item(), og.param_groups[0]["params"][0] is G.weight)
""",
    "reinforcement: agent, memory and environment": """
N>
import random
class Env:
    def __init__(self): self.t = 0
    def step(self, a): self.t += a; return self.t
class Agent:
    def __init__(self, env, memory): self.env, self.memory, self.eps = env, memory, 1.0
    def act(self): self.memory.append(self.env.step(2)); self.eps *= .5
memory = []; env = Env(); agent = Agent(env, memory)
R> agent.act(); agent.act()
N> print(memory, env.t, agent.eps); env.t = 100
R> agent.act(); print(memory)
N> print(agent.memory is memory, memory, agent.eps)
""",
    "a scikit-learn pipeline fitted there": """
N>
import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.linear_model import LogisticRegression
rng = np.random.default_rng(0); X = rng.normal(size=(40, 2)); y = (X[:, 0] > 0).astype(int)
scaler = StandardScaler(); pipe = make_pipeline(scaler, LogisticRegression())
R> pipe.fit(X, y)
N> print(pipe.score(X, y), scaler.mean_.round(3), pipe[0] is scaler)
R> print(pipe.predict(X[:3]), scaler.n_samples_seen_)
""",
    "warm start goes on where it was": """
N>
import numpy as np
from sklearn.ensemble import RandomForestClassifier
rng = np.random.RandomState(0); X = rng.rand(30, 2); y = (X[:, 0] > .5).astype(int)
rf = RandomForestClassifier(2, warm_start=True, random_state=rng); forests = [rf]
R> rf.fit(X, y); print(len(rf.estimators_))
N> rf.n_estimators = 4; rf.fit(X, y); print(len(forests[0].estimators_), rng.rand())
R> print(rf.score(X, y), rng.rand(), rf.random_state is rng)
N> print(rng.rand())
""",
    "partial fit on either side": """
N>
import numpy as np
from sklearn.linear_model import SGDClassifier
X = np.array([[0.], [1.], [2.], [3.]]); y = np.array([0, 0, 1, 1]); clf = SGDClassifier(random_state=0); best = {"clf": clf}
R> clf.partial_fit(X, y, classes=[0, 1])
N> clf.partial_fit(X, y); print(clf.coef_.round(3), clf.t_)
R> best["clf"].partial_fit(X, y); print(clf.coef_.round(3), clf.t_)
N> print(clf.t_, best["clf"] is clf)
""",
}
