"""An engine with events, handlers and history, as ignite's and Lightning's users write: handlers here, the run there."""

from __future__ import annotations

from typing import Final

NOTEBOOK: Final = """
N>
import collections
import enum
import functools
import pandas as pd
import matplotlib.pyplot as plt
import torch
from torch import nn

torch.set_num_threads(1)
N>
class Events(enum.Enum):
    STARTED = "started"
    ITERATION = "iteration"
    EPOCH = "epoch"
    DONE = "done"

class State:
    def __init__(self):
        self.epoch = self.iteration = 0
        self.output = None
        self.metrics = {}

class Engine:
    def __init__(self, process):
        self.process, self.state, self.handlers = process, State(), collections.defaultdict(list)
        self.should_stop = False

    def on(self, event, every=1):
        def decorate(f):
            self.handlers[event].append((every, f))
            return f
        return decorate

    def fire(self, event, count):
        for every, handler in self.handlers[event]:
            if count % every == 0:
                handler(self)

    def run(self, data, epochs):
        self.should_stop = False
        self.fire(Events.STARTED, 0)
        for _ in range(epochs):
            self.state.epoch += 1
            for batch in data:
                self.state.iteration += 1
                self.state.output = self.process(self, batch)
                self.fire(Events.ITERATION, self.state.iteration)
            self.fire(Events.EPOCH, self.state.epoch)
            if self.should_stop:
                break
        self.fire(Events.DONE, 0)
        return self.state
N>
class Callback:
    def attach(self, engine):
        engine.on(Events.EPOCH)(self.epoch)
        return self

class History(Callback):
    def __init__(self):
        self.rows = []

    def epoch(self, engine):
        self.rows.append({"epoch": engine.state.epoch, **engine.state.metrics})

class BestModel(Callback):
    def __init__(self, model, key):
        self.model, self.key, self.score, self.state = model, key, None, None

    def epoch(self, engine):
        score = engine.state.metrics[self.key]
        if self.score is None or score < self.score:
            self.score, self.state = score, {k: v.clone() for k, v in self.model.state_dict().items()}

class StopWhen(Callback):
    def __init__(self, test):
        self.test = test

    def epoch(self, engine):
        engine.should_stop = self.test(engine.state)
N>
torch.manual_seed(3)
model = nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.GELU(), nn.Linear(6, 1))
optimizer = torch.optim.RMSprop(model.parameters(), lr=0.01)
x = torch.randn(48, 3)
t = (x[:, :1] * x[:, 1:2]).sin()
batches = list(zip(x.split(16), t.split(16)))
running = []

def train_step(engine, batch):
    model.train()
    loss = nn.functional.mse_loss(model(batch[0]), batch[1])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()

engine = Engine(train_step)
history = History().attach(engine)
best = BestModel(model, "loss").attach(engine)

@engine.on(Events.ITERATION)
def collect(engine):
    running.append(engine.state.output)

print(len(engine.handlers[Events.EPOCH]), best.model is model)
R>
@functools.partial(engine.handlers[Events.EPOCH].insert, 0)
@(lambda f: (1, f))
def metrics(engine):
    engine.state.metrics = {"loss": round(sum(running[-3:]) / 3, 6), "lr": optimizer.param_groups[0]["lr"]}

state = engine.run(batches, 3)
print(state.epoch, state.iteration, state is engine.state)
N>
frame = pd.DataFrame(history.rows)
frame
N>
print(len(running), best.score, engine.state.epoch, best.model is model)

@engine.on(Events.EPOCH, every=2)
def decay(engine):
    optimizer.param_groups[0]["lr"] /= 2

stop = StopWhen(lambda state: state.epoch >= 6).attach(engine)
R>
engine.run(batches, 10)
print(engine.state.epoch, [row["lr"] for row in history.rows])
N>
fig, ax = plt.subplots(figsize=(2, 1))
pd.DataFrame(history.rows).plot(x="epoch", y="loss", ax=ax)
plt.show()
N>
model.eval()
with torch.no_grad():
    final = nn.functional.mse_loss(model(x), t).item()
print(round(final, 6), model[1].num_batches_tracked.item())
model.load_state_dict(best.state)
with torch.no_grad():
    print(round(nn.functional.mse_loss(model(x), t).item(), 6))
R!>
@engine.on(Events.ITERATION)
def trip(engine):
    if engine.state.iteration == 20:
        raise RuntimeError("gradient exploded")
stop.test = lambda state: False
engine.run(batches, 5)
N>
print(engine.state.iteration, engine.state.epoch, len(running), len(history.rows))
engine.handlers[Events.ITERATION].pop()
R> engine.run(batches, 1)
print(engine.state.iteration, history.rows[-1])
N> print(history.rows[-1], engine.handlers[Events.ITERATION][0][1] is collect, optimizer.param_groups[0]["lr"])
"""
