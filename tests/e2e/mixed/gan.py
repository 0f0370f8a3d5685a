"""Two networks against each other, written as a Lightning-like module with manual optimisation and a logger."""

from __future__ import annotations

from typing import Final

NOTEBOOK: Final = """
N>
import matplotlib.pyplot as plt
import torch
from torch import nn
torch.set_num_threads(1)
torch.manual_seed(11)
real = torch.randn(64, 1) * 0.5 + 2
N>
class Logger:
    def __init__(self):
        self.metrics = {}

    def log(self, name, value):
        self.metrics.setdefault(name, []).append(round(float(value), 5))

class Module(nn.Module):
    def __init__(self):
        super().__init__()
        self._optimizers, self.logger, self.current_epoch = None, None, 0

    def log(self, name, value):
        self.logger.log(name, value)

    def optimizers(self):
        if self._optimizers is None:
            self._optimizers = self.configure_optimizers()
        return self._optimizers

class GAN(Module):
    def __init__(self, hidden=8):
        super().__init__()
        self.G = nn.Sequential(nn.Linear(2, hidden), nn.LeakyReLU(), nn.Linear(hidden, 1))
        self.D = nn.Sequential(nn.Linear(1, hidden), nn.LeakyReLU(), nn.Linear(hidden, 1))

    def configure_optimizers(self):
        return torch.optim.Adam(self.G.parameters(), 0.02), torch.optim.Adam(self.D.parameters(), 0.02)

    def training_step(self, batch):
        og, od = self.optimizers()
        ones, zeros = torch.ones(len(batch), 1), torch.zeros(len(batch), 1)
        bce = nn.functional.binary_cross_entropy_with_logits
        fake = self.G(torch.randn(len(batch), 2))
        d_loss = bce(self.D(batch), ones) + bce(self.D(fake.detach()), zeros)
        od.zero_grad(); d_loss.backward(); od.step()
        g_loss = bce(self.D(fake), ones)
        og.zero_grad(); g_loss.backward(); og.step()
        self.log("d", d_loss.item())
        self.log("g", g_loss.item())

class Fit:
    def __init__(self, logger, callbacks=()):
        self.logger, self.callbacks = logger, list(callbacks)

    def fit(self, module, batches, epochs):
        module.logger = self.logger
        for _ in range(epochs):
            module.train()
            for batch in batches:
                module.training_step(batch)
            module.current_epoch += 1
            for callback in self.callbacks:
                callback(self, module)

samples = {}

def snapshot(trainer, module):
    with torch.no_grad():
        samples[module.current_epoch] = module.G(noise).mean().item()

noise = torch.randn(8, 2)
logger = Logger()
trainer = Fit(logger, [snapshot])
R>
gan = GAN()
batches = real.split(16)
trainer.fit(gan, batches, 2)
print(logger.metrics["d"], gan.current_epoch)
N>
og, od = gan.optimizers()
print(og.param_groups[0]["params"][0] is gan.G[0].weight, len(samples), logger.metrics["g"], gan.logger is logger)
N>
fig, ax = plt.subplots(figsize=(2, 1))
ax.plot(logger.metrics["d"])
plt.show()
og.param_groups[0]["lr"] = 0.005
R>
trainer.fit(gan, batches, 2)
print({k: round(v, 5) for k, v in samples.items()}, og is gan.optimizers()[0])
N>
gan.eval()
with torch.no_grad():
    print(round(gan.G(noise).mean().item(), 5), round(gan.D(real).mean().item(), 5))
for p in gan.D.parameters():
    p.requires_grad_(True)
trainer.callbacks.append(lambda trainer, module: trainer.logger.log("epoch", module.current_epoch))
trainer.fit(gan, batches, 1)
R>
trainer.fit(gan, batches, 1)
print(logger.metrics["epoch"], trainer.callbacks[0] is snapshot)
N> print({k: len(v) for k, v in logger.metrics.items()}, {k: round(v, 5) for k, v in samples.items()}, torch.rand(1))
"""
