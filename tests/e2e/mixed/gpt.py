"""A small GPT of nested classes: a ModuleList of blocks, tied weights, AdamW with parameter groups, checkpoints."""

from __future__ import annotations

from typing import Final

NOTEBOOK: Final = """
N>
import math
import os
import tempfile
from dataclasses import dataclass
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

torch.manual_seed(1337)
torch.set_num_threads(1)
N>
text = "the cat sat on the mat. the dog sat on the log. " * 8
chars = sorted(set(text))
stoi = {c: i for i, c in enumerate(chars)}
itos = {i: c for c, i in stoi.items()}
encode = lambda s: [stoi[c] for c in s]
decode = lambda ids: "".join(itos[i] for i in ids)
data = torch.tensor(encode(text))
train_data, val_data = data[:300], data[300:]
print(len(chars), decode(data[:10].tolist()))
N>
@dataclass
class GPTConfig:
    vocab: int = len(chars)
    block: int = 16
    layers: int = 2
    heads: int = 2
    width: int = 16
    dropout: float = 0.0
    checkpointing: bool = False

class Attention(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.qkv = nn.Linear(cfg.width, 3 * cfg.width, bias=False)
        self.proj = nn.Linear(cfg.width, cfg.width)
        self.register_buffer("mask", torch.tril(torch.ones(cfg.block, cfg.block)).bool())

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (t.view(B, T, self.cfg.heads, -1).transpose(1, 2) for t in self.qkv(x).split(C, dim=2))
        att = (q @ k.transpose(-2, -1)) / math.sqrt(k.size(-1))
        att = att.masked_fill(~self.mask[:T, :T], float("-inf")).softmax(-1)
        return self.proj((F.dropout(att, self.cfg.dropout, self.training) @ v).transpose(1, 2).reshape(B, T, C))

class MLP(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(cfg.width, 4 * cfg.width), nn.GELU(), nn.Linear(4 * cfg.width, cfg.width))

    def forward(self, x):
        return self.net(x)

class Block(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(cfg.width), nn.LayerNorm(cfg.width)
        self.attn, self.mlp = Attention(cfg), MLP(cfg)

    def forward(self, x):
        x = x + self.attn(self.ln1(x))
        return x + self.mlp(self.ln2(x))
N>
class GPT(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.wte, self.wpe = nn.Embedding(cfg.vocab, cfg.width), nn.Embedding(cfg.block, cfg.width)
        self.blocks = nn.ModuleList(Block(cfg) for _ in range(cfg.layers))
        self.ln = nn.LayerNorm(cfg.width)
        self.head = nn.Linear(cfg.width, cfg.vocab, bias=False)
        self.head.weight = self.wte.weight
        self.apply(self._init)

    def _init(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)

    def forward(self, idx, targets=None):
        x = self.wte(idx) + self.wpe(torch.arange(idx.size(1)))
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.cfg.checkpointing and self.training else block(x)
        logits = self.head(self.ln(x))
        return logits, None if targets is None else F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def groups(self, decay):
        params = dict(self.named_parameters())
        return [
            {"params": [p for p in params.values() if p.dim() >= 2], "weight_decay": decay},
            {"params": [p for p in params.values() if p.dim() < 2], "weight_decay": 0.0},
        ]

    @torch.no_grad()
    def generate(self, idx, n):
        self.eval()
        for _ in range(n):
            logits, _ = self(idx[:, -self.cfg.block:])
            idx = torch.cat([idx, torch.multinomial(logits[:, -1].softmax(-1), 1)], 1)
        return idx
R>
cfg = GPTConfig()
model = GPT(cfg)
optimizer = torch.optim.AdamW(model.groups(0.1), lr=1e-2, betas=(0.9, 0.95))
print(sum(p.numel() for p in model.parameters()), [len(g["params"]) for g in optimizer.param_groups])
R> model.blocks[0]
N>
print(model.head.weight is model.wte.weight, optimizer.param_groups[0]["params"][0] is model.wte.weight)

def get_batch(split, size=4):
    source = train_data if split == "train" else val_data
    starts = torch.randint(len(source) - cfg.block - 1, (size,))
    return torch.stack([source[s:s + cfg.block] for s in starts]), torch.stack([source[s + 1:s + 1 + cfg.block] for s in starts])

def lr_at(step, warmup=3, total=12, peak=1e-2):
    return peak * (step + 1) / warmup if step < warmup else peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))

losses, step = [], 0
R>
def train(n):
    global step
    model.train()
    for _ in range(n):
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step)
        _, loss = model(*get_batch("train"))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        step += 1

train(4)
print(step, [round(v, 5) for v in losses])
N>
model.eval()
with torch.no_grad():
    _, val = model(val_data[None, :cfg.block], val_data[None, 1:cfg.block + 1])
print(round(val.item(), 5), step, len(losses), optimizer.param_groups[1]["lr"])
cfg.checkpointing = True
R>
train(3)
print(model.cfg.checkpointing, [round(v, 5) for v in losses[4:]], optimizer.param_groups[0]["params"][0] is model.head.weight)
R>
path = os.path.join(tempfile.mkdtemp(), "ckpt.pt")
torch.save({"model": model.state_dict(), "opt": optimizer.state_dict(), "step": step, "rng": torch.get_rng_state()}, path)
saved = torch.load(path, weights_only=False)
train(2)
after = losses[-2:]
print(saved["step"], step, [round(v, 5) for v in after])
N>
print(decode(model.generate(data[None, :4], 12)[0].tolist()))
model.load_state_dict(saved["model"])
optimizer.load_state_dict(saved["opt"])
torch.set_rng_state(saved["rng"])
step = saved["step"]
del losses[-2:]
R>
train(2)
print(losses[-2:] == after, step, model.head.weight is model.wte.weight)
N>
for p in model.wte.parameters():
    p.requires_grad_(False)
print(sum(p.numel() for p in model.parameters() if p.requires_grad))
R>
before = model.wte.weight.clone()
optimizer.param_groups[0]["weight_decay"] = 0.0
train(2)
print(torch.equal(before, model.wte.weight), round(losses[-1], 5))
N>
print(len(losses), round(sum(losses), 4), optimizer.param_groups[0]["weight_decay"], len(optimizer.state))
model.blocks[1].mlp
"""
