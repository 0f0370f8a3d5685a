"""A plain PyTorch loop: data and plot here, training there with a scheduler and early stopping, evaluation here."""

from __future__ import annotations

from typing import Final

NOTEBOOK: Final = """
N>
import copy
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
SEED = 42
CONFIG = {"lr": 0.05, "epochs": 6, "patience": 2, "batch": 16}

def seed_everything(seed):
    np.random.seed(seed)
    torch.manual_seed(seed)

seed_everything(SEED)
N>
angle = np.random.rand(160) * 2 * np.pi
radius = np.concatenate([np.ones(80), 2 * np.ones(80)]) + 0.1 * np.random.randn(160)
X = torch.tensor(np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1), dtype=torch.float32)
y = torch.tensor([0] * 80 + [1] * 80)
order = torch.randperm(len(X))
X, y = X[order], y[order]
train_set, valid_set = TensorDataset(X[:120], y[:120]), TensorDataset(X[120:], y[120:])
print(X[:2], y[:8], y.float().mean())
N>
fig, ax = plt.subplots(figsize=(2, 2))
ax.scatter(X[:, 0], X[:, 1], c=y, s=4)
plt.show()
N>
class Net(nn.Module):
    def __init__(self, hidden=8):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(2, hidden), nn.ReLU(), nn.Dropout(0.1), nn.Linear(hidden, 2))

    def forward(self, x):
        return self.body(x)

class EarlyStopping:
    def __init__(self, patience):
        self.patience, self.best, self.bad, self.state = patience, float("inf"), 0, None

    def step(self, value, model):
        if value < self.best - 1e-4:
            self.best, self.bad, self.state = value, 0, copy.deepcopy(model.state_dict())
        else:
            self.bad += 1
        return self.bad >= self.patience
R>
device = "cuda" if torch.cuda.is_available() else "cpu"
model = Net().to(device)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.AdamW(model.parameters(), lr=CONFIG["lr"])
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, CONFIG["epochs"])
stopper = EarlyStopping(CONFIG["patience"])
history = {"train": [], "valid": [], "lr": []}
model
R>
def evaluate(model, data):
    model.eval()
    with torch.no_grad():
        x, t = data.tensors
        out = model(x)
        return criterion(out, t).item(), (out.argmax(1) == t).float().mean().item()

def train_epoch(model, loader):
    model.train()
    total = 0.0
    for x, t in loader:
        optimizer.zero_grad()
        loss = criterion(model(x), t)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        total += loss.item() * len(x)
    return total / len(loader.dataset)

print(evaluate(model, valid_set))
R>
loader = DataLoader(train_set, batch_size=CONFIG["batch"], shuffle=True)
for epoch in range(CONFIG["epochs"]):
    history["train"].append(train_epoch(model, loader))
    valid_loss, valid_acc = evaluate(model, valid_set)
    history["valid"].append(valid_loss)
    history["lr"].append(scheduler.get_last_lr()[0])
    scheduler.step()
    print(f"{epoch}: {history['train'][-1]:.5f} {valid_loss:.5f} {valid_acc:.3f}")
    if stopper.step(valid_loss, model):
        print("stopped")
        break
N>
print(len(history["train"]), history["lr"][-1], stopper.best)
fig, ax = plt.subplots(figsize=(2, 1))
ax.plot(history["train"], label="train")
ax.plot(history["valid"], label="valid")
ax.legend()
plt.show()
N>
print(evaluate(model, valid_set), model.training)
for group in optimizer.param_groups:
    group["lr"] = 0.01
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
R>
for epoch in range(3):
    history["train"].append(train_epoch(model, loader))
    scheduler.step()
    print(f"{history['train'][-1]:.6f}", optimizer.param_groups[0]["lr"])
N>
model.load_state_dict(stopper.state)
print(evaluate(model, valid_set))
pred = model(valid_set.tensors[0]).argmax(1)
confusion = torch.zeros(2, 2, dtype=torch.int)
for t, p in zip(valid_set.tensors[1], pred):
    confusion[t, p] += 1
confusion
N>
print(optimizer.param_groups[0]["params"][0] is model.body[0].weight, sum(p.abs().sum().item() for p in model.parameters()))
R> print(evaluate(model, train_set), [round(v, 6) for v in history["train"]])
"""
