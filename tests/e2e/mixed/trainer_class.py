"""A Trainer class that holds model, configuration and loaders; the configuration is changed between the runs."""

from __future__ import annotations

from typing import Final

NOTEBOOK: Final = """
N>
from dataclasses import dataclass, field, asdict
from pathlib import Path
import tempfile
import torch
from torch import nn
import torch.nn.functional as F

torch.set_num_threads(1)
N>
@dataclass
class ModelConfig:
    width: int = 8
    depth: int = 2
    dropout: float = 0.0

@dataclass
class TrainConfig:
    lr: float = 0.1
    steps: int = 5
    log_every: int = 2
    model: ModelConfig = field(default_factory=ModelConfig)

cfg = TrainConfig()
asdict(cfg)
N>
class MLP(nn.Module):
    def __init__(self, cfg: ModelConfig):
        super().__init__()
        self.cfg = cfg
        sizes = [4] + [cfg.width] * cfg.depth
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))
        self.head = nn.Linear(cfg.width, 1)

    def forward(self, x):
        for layer in self.layers:
            x = F.dropout(torch.tanh(layer(x)), self.cfg.dropout, self.training)
        return self.head(x)

class Meter:
    def __init__(self):
        self.values = []

    def update(self, value):
        self.values.append(value)

    @property
    def last(self):
        return self.values[-1]

class Trainer:
    def __init__(self, model, cfg, data):
        self.model, self.cfg, self.data = model, cfg, data
        self.optimizer = torch.optim.SGD(model.parameters(), lr=cfg.lr, momentum=0.9)
        self.meters = {"loss": Meter(), "norm": Meter()}
        self.step_count = 0
        self.hooks = []

    def on_log(self, hook):
        self.hooks.append(hook)
        return hook

    def step(self):
        self.model.train()
        x, t = self.data
        loss = F.mse_loss(self.model(x), t)
        self.optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self.optimizer.step()
        self.step_count += 1
        self.meters["loss"].update(loss.item())
        self.meters["norm"].update(norm.item())

    def fit(self):
        for group in self.optimizer.param_groups:
            group["lr"] = self.cfg.lr
        for _ in range(self.cfg.steps):
            self.step()
            if self.step_count % self.cfg.log_every == 0:
                for hook in self.hooks:
                    hook(self)
        return self
N>
torch.manual_seed(0)
x = torch.randn(32, 4)
t = (x ** 2).sum(1, keepdim=True)
model = MLP(cfg.model)
trainer = Trainer(model, cfg, (x, t))
loss_meter = trainer.meters["loss"]
log = []

@trainer.on_log
def keep(tr):
    log.append((tr.step_count, round(tr.meters["loss"].last, 5)))

print(sum(p.numel() for p in model.parameters()))
R> trainer.fit()
print(log)
N>
print(log, trainer.step_count, loss_meter is trainer.meters["loss"], len(loss_meter.values))
print(trainer.model is model, trainer.cfg is cfg, model.cfg is cfg.model)
cfg.lr, cfg.steps = 0.01, 4
R> trainer.fit();
print(trainer.optimizer.param_groups[0]["lr"], trainer.step_count, log[-1])
N>
@torch.no_grad()
def r2(model, x, t):
    model.eval()
    return 1 - F.mse_loss(model(x), t).item() / t.var(unbiased=False).item()

round(r2(model, x, t), 6)
R>
cfg.model.dropout = 0.2
torch.manual_seed(1)
trainer.fit()
print([round(v, 5) for v in loss_meter.values[-3:]])
N>
print(model.cfg.dropout, log)
model.layers.append(nn.Linear(cfg.model.width, cfg.model.width))
nn.init.eye_(model.layers[-1].weight)
trainer.optimizer.add_param_group({"params": model.layers[-1].parameters(), "lr": 0.001})
cfg.model.dropout = 0.0
print(len(trainer.optimizer.param_groups))
R>
trainer.fit()
print([group["lr"] for group in trainer.optimizer.param_groups], round(loss_meter.last, 5))
path = Path(tempfile.mkdtemp()) / "trainer.pt"
torch.save({"model": model.state_dict(), "cfg": asdict(cfg), "step": trainer.step_count}, path)
ckpt = torch.load(path, weights_only=True)
print(sorted(ckpt), ckpt["step"])
N>
twin = MLP(ModelConfig(**ckpt["cfg"]["model"]))
twin.layers.append(nn.Linear(cfg.model.width, cfg.model.width))
twin.load_state_dict(ckpt["model"])
print(round(r2(twin, x, t), 6) == round(r2(model, x, t), 6), round(r2(model, x, t), 6))
R> print(log, trainer.hooks[0] is keep, trainer.model is model, round(model(x).sum().item(), 4))
"""
