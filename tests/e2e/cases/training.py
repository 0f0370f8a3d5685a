"""Models, optimizers and schedulers of torch over several cells."""

from __future__ import annotations

from typing import Final

MAKE = """
import torch; from torch import nn
torch.manual_seed(0); torch.set_num_threads(1)
X = torch.randn(8, 2); Y = X.sum(1, keepdim=True)
model = nn.Linear(2, 1); opt = torch.optim.SGD(model.parameters(), lr=.1)
def step():
    opt.zero_grad(); loss = ((model(X) - Y) ** 2).mean(); loss.backward(); opt.step(); return round(loss.item(), 4)
"""

CASES: Final = {
    "model and optimizer here, step there": f"""
N>{MAKE}
R> print(model(X).sum().item())
R> print([step() for _ in range(3)])
N> print(model.weight.data, opt.param_groups[0]["params"][0] is model.weight)
R> print(step())
N> print(step(), model.weight.data)
""",
    "loss in one cell, backward in the next": f"""
N>{MAKE}
R> print(model)
R> loss = ((model(X) - Y) ** 2).mean(); loss.backward(); opt.step(); opt.zero_grad()
N> print(model.weight.data)
R> loss = ((model(X) - Y) ** 2).mean(); loss.backward(); opt.step(); print(loss.item())
N> print(model.weight.data)
""",
    "the learning rate is set here": f"""
N>{MAKE}
R> print([step() for _ in range(2)])
N> opt.param_groups[0]["lr"] = .5
R> print([step() for _ in range(2)], opt.param_groups[0]["lr"])
N> print(model.weight.data)
R> print(model.weight.data)
""",
    "a layer is replaced here": """
N>
import torch; from torch import nn
torch.manual_seed(0); torch.set_num_threads(1)
model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)); X = torch.ones(4, 2)
R> print(model(X).sum().item())
N> model[1] = nn.Linear(2, 3); opt = torch.optim.SGD(model.parameters(), lr=.1)
R> out = model(X).sum(); out.backward(); opt.step(); print(model(X).shape, model(X).sum().item())
N> print(model(X).sum().item(), opt.param_groups[0]["params"][2] is model[1].weight)
""",
    "a scheduler steps in a later cell": f"""
N>{MAKE}
sched = torch.optim.lr_scheduler.StepLR(opt, 1, gamma=.5)
R> print(step())
R> sched.step(); print(opt.param_groups[0]["lr"])
N> print(opt.param_groups[0]["lr"], sched.optimizer is opt, sched.get_last_lr()); sched.step()
R> print(opt.param_groups[0]["lr"], step())
N> print(model.weight.data)
""",
    "model from there, optimizer from here": """
R>
import torch; from torch import nn
torch.manual_seed(0); model = nn.Linear(2, 1); X = torch.ones(4, 2)
N> opt = torch.optim.Adam(model.parameters(), lr=.1)
R> loss = model(X).mean(); loss.backward(); opt.step(); print(round(model(X).mean().item(), 4))
N> print(round(model(X).mean().item(), 4), opt.param_groups[0]["params"][0] is model.weight, len(opt.state))
R> opt.zero_grad(); loss = model(X).mean(); loss.backward(); opt.step()
N> print(round(model(X).mean().item(), 4))
""",
    "train there, eval here, train there": f"""
N>{MAKE}
model = nn.Sequential(nn.Linear(2, 4), nn.Dropout(.0), nn.Linear(4, 1)); opt = torch.optim.SGD(model.parameters(), lr=.1)
R> model.train(); print([step() for _ in range(2)])
N> model.eval(); print(round(((model(X) - Y) ** 2).mean().item(), 4))
R> model.train(); print([step() for _ in range(2)])
N> print(model.training, round(((model(X) - Y) ** 2).mean().item(), 4))
""",
    "train there, eval there, train here": f"""
N>{MAKE}
R> print([step() for _ in range(2)])
R> model.eval(); print(model.training)
N> model.train(); print([step() for _ in range(2)])
R> print([step() for _ in range(2)], model.training)
N> print(model.weight.data, model.bias.data)
""",
    "a module list and an optimizer, all remote": """
R>
import torch; from torch import nn
torch.manual_seed(0)
class Block(nn.Module):
    def __init__(self): super().__init__(); self.lin = nn.Linear(2, 2)
    def forward(self, x): return self.lin(x).tanh()
class Net(nn.Module):
    def __init__(self): super().__init__(); self.blocks = nn.ModuleList([Block(), Block()])
    def forward(self, x):
        for block in self.blocks: x = block(x)
        return x
model = Net(); opt = torch.optim.SGD(model.parameters(), lr=.1)
R> model.blocks[0]
R>
print(opt.param_groups[0]["params"][0] is model.blocks[0].lin.weight)
loss = model(torch.ones(3, 2)).pow(2).mean(); loss.backward(); opt.step(); print(round(model(torch.ones(3, 2)).sum().item(), 5))
N> print(opt.param_groups[0]["params"][0] is model.blocks[0].lin.weight, round(model(torch.ones(3, 2)).sum().item(), 5))
""",
    "a submodule has its own name": f"""
N>{MAKE}
model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1)); head = model[1]; opt = torch.optim.SGD(head.parameters(), lr=.1)
R> print(step())
N> print(head is model[1], head.weight.data, opt.param_groups[0]["params"][0] is head.weight)
R> head.weight.data.zero_(); print(model(X)[0].item() == head.bias.item())
N> print(model[1].weight.data)
""",
    "tied weights": """
N>
import torch; from torch import nn
torch.manual_seed(0); emb = nn.Embedding(4, 2); out = nn.Linear(2, 4, bias=False); out.weight = emb.weight
opt = torch.optim.SGD(list(emb.parameters()) + [p for p in out.parameters() if p is not emb.weight], lr=1.)
R> loss = out(emb(torch.tensor([1]))).sum(); loss.backward(); opt.step(); print(out.weight is emb.weight)
N> print(out.weight is emb.weight, emb.weight.data, opt.param_groups[0]["params"][0] is out.weight)
R> with torch.no_grad(): emb.weight.zero_()
N> print(out.weight.abs().sum().item())
""",
    "freezing here": f"""
N>{MAKE}
R> print(step())
N> model.weight.requires_grad_(False)
R> model.zero_grad(); print(step(), model.weight.grad)
N> print(model.weight.data, model.weight.requires_grad, model.bias.data)
""",
    "a parameter group is added": f"""
N>{MAKE}
extra = nn.Parameter(torch.zeros(1))
R> opt.add_param_group({{"params": [extra], "lr": 1.}})
N> print(len(opt.param_groups), opt.param_groups[1]["params"][0] is extra)
R> extra.grad = torch.ones(1); opt.step(); print(extra.data)
N> print(extra.data)
""",
    "load_state_dict there": f"""
N>{MAKE}
import copy
R> best = copy.deepcopy(model.state_dict()); print(step())
R> model.load_state_dict(best)
N> print(model.weight.data, step())
R> print(step()); model.load_state_dict(best); opt.load_state_dict(opt.state_dict())
N> print(step(), model.weight.data)
""",
    "a state dict shares memory with its model": f"""
N>{MAKE}
sd = model.state_dict()
R> print(step())
N> print(torch.equal(sd["weight"], model.weight))
R> sd["weight"].zero_(); print(model.weight.data)
N> print(model.weight.data)
""",
    "an exponential average of weights": f"""
N>{MAKE}
import copy
ema = copy.deepcopy(model)
def update():
    with torch.no_grad():
        for a, b in zip(ema.parameters(), model.parameters()): a.mul_(.5).add_(b, alpha=.5)
R> step(); update()
N> print(ema.weight.data); update()
R> step(); update(); print(ema.weight.data)
N> print(ema.weight.data, model.weight.data)
""",
    "gradient accumulation over cells": f"""
N>{MAKE}
R> model(X).sum().backward()
N> print(model.weight.grad)
R> model(X).sum().backward()
N> print(model.weight.grad); opt.step(); opt.zero_grad(set_to_none=True)
R> print(model.weight.grad, model.weight.data)
""",
    "a data loader's dataset": """
N>
import torch
from torch.utils.data import Dataset, DataLoader
class Squares(Dataset):
    def __init__(self): self.reads = []
    def __len__(self): return 4
    def __getitem__(self, i): self.reads.append(i); return torch.tensor(i * i)
data = Squares(); loader = DataLoader(data, batch_size=2)
R> print([b.tolist() for b in loader])
N> print(data.reads, loader.dataset is data)
R> print(sum(int(b.sum()) for b in loader), len(data.reads))
""",
    "a data loader with workers that stay": """
N>
import torch
from torch.utils.data import Dataset, DataLoader
class Squares(Dataset):
    def __len__(self): return 4
    def __getitem__(self, i): return torch.tensor(i * i)
loader = DataLoader(Squares(), batch_size=2, num_workers=1, persistent_workers=True)
print([b.tolist() for b in loader])
R> print([b.tolist() for b in loader], loader.num_workers); same = loader
R> print([b.tolist() for b in loader])
N> print([b.tolist() for b in loader], same is loader); del loader, same
R> other = DataLoader(Squares(), num_workers=1, persistent_workers=True); print(len(list(other)))
N> print(len(list(other))); del other
""",
    "a compiled function": """
N>
import torch
@torch.compile(backend="eager", fullgraph=True, dynamic=True)
def double(x): return x * factor
factor = 2; double.calls = [double(torch.ones(2))]
def arguments(compiled): return [c.cell_contents for c in compiled.__closure__ if hasattr(c.cell_contents, "fullgraph")][0]
R> double.calls.append(double(torch.ones(3))); alias = double; print(double.calls, double.__name__, sorted(n for n in globals() if "compiled" in n and n[0] != "_"))
R> print(arguments(double).fullgraph, arguments(double)._dynamic)
N> print(double.calls, alias is double); factor = 3; print(alias(torch.ones(1)))
R>
@torch.compile(backend="eager")
def more(x): return double(x) + 1
print(more(torch.ones(2)))
N> print(more(torch.ones(2)), double(torch.ones(4)))
R>
@torch.compile(backend="eager")
def double(x): return x * 20
print(double(torch.ones(1)), alias is double)
N> print(double(torch.ones(1)), alias(torch.ones(1)), more(torch.ones(1)))
END> import gc; [globals().pop(name, None) for name in ("double", "alias", "more")]; torch._dynamo.reset(); _ = gc.collect()
""",
    "a compiled module and a compiled method": f"""
N>{MAKE}
fast = torch.compile(model, backend="eager", fullgraph=True, dynamic=False)
class Wrapped(nn.Module):
    def __init__(self, inner): super().__init__(); self.inner = inner
    @torch.compile(backend="eager")
    def forward(self, x): return self.inner(x)
    @torch.compiler.disable
    def slow(self, x): return x + 1
wrapped = Wrapped(model); print(fast(X).shape, wrapped(X).shape)
R> print(fast.dynamo_ctx.fullgraph, fast.dynamo_ctx._dynamic, fast._orig_mod is model, wrapped.inner is model, wrapped.slow(1))
R> fast(X).sum().backward(); opt.step(); print(wrapped(X).sum())
N> print(fast(X).sum(), wrapped(X).sum(), fast._orig_mod is model)
END> import gc; [globals().pop(name, None) for name in ("fast", "wrapped", "Wrapped")]; torch._dynamo.reset(); _ = gc.collect()
""",
    "settings of torch's compiler": """
N> import torch, torch._dynamo, torch._inductor.config as settings; torch._dynamo.config.recompile_limit = 9; settings.triton.cudagraphs = True
R> print(torch._dynamo.config.recompile_limit, settings.triton.cudagraphs); settings.triton.cudagraphs = False; settings.max_autotune = True
N> print(settings.triton.cudagraphs, settings.max_autotune); torch._dynamo.config.recompile_limit = 10; kept = [settings]
R> print(torch._dynamo.config.recompile_limit, kept[0] is settings)
END> torch._dynamo.config.recompile_limit = 8; settings.max_autotune = False
""",
    "hooks on an optimizer": f"""
N>{MAKE}
seen = []
handle = opt.register_step_post_hook(lambda o, *_: seen.append(o.param_groups[0]["lr"]))
opt.register_state_dict_post_hook(lambda o, state: state.update(seen=len(seen)))
R> step(); step(); print(seen, opt.state_dict()["seen"], sorted(opt.defaults))
N> step(); print(seen, opt.state_dict()["seen"], sorted(opt.defaults)); handle.remove()
R> step(); print(seen); opt.register_step_pre_hook(lambda *_: seen.append("pre"))
N> step(); print(seen)
""",
    "an optimizer made there has its options only": f"""
R>{MAKE}
class Own(torch.optim.Optimizer):
    def __init__(self, parameters): super().__init__(parameters, {{"lr": 1.}}); self.calls = []
    def step(self): self.calls.append(len(self.calls))
own = Own(model.parameters()); own.step()
N> own.step(); print(own.calls, own.defaults)
R> own.step(); print(own.calls, own.defaults)
""",
    "a pruned layer": f"""
N>{MAKE}
import torch.nn.utils.prune as prune
prune.l1_unstructured(model, "weight", 1); print(model.weight, model.weight_mask)
R> print(step(), model.weight.detach()); prune.random_unstructured(model, "weight", 1); print(model.weight_mask)
N> print(step(), model.weight_mask, model.weight.detach()); prune.remove(model, "weight")
R> print(model.weight, sorted(model.state_dict()))
N> print(model.weight, sorted(model.state_dict()))
""",
    "the older norms of weights": """
N>
import torch, warnings; from torch import nn
warnings.simplefilter("ignore", FutureWarning)
torch.manual_seed(0); torch.set_num_threads(1)
first = nn.utils.weight_norm(nn.Linear(2, 2)); second = nn.utils.spectral_norm(nn.Linear(2, 1)); X = torch.ones(1, 2)
model = nn.Sequential(first, second); print(model(X))
R> model(X).sum().backward(); print(first.weight_g.grad, second.weight_orig.grad)
N> print(first.weight_g.grad, second.weight_orig.grad, second.weight_u); model(X).sum().backward()
print(first.weight_g.grad, nn.utils.remove_weight_norm(first).weight)
R> print(model(X), sorted(model.state_dict()))
END> import warnings; warnings.resetwarnings()
""",
    "hooks on a module": f"""
N>{MAKE}
acts = []
handle = model.register_forward_hook(lambda m, i, o: acts.append(tuple(o.shape)))
R> model(X)
N> print(acts)
R> handle.remove(); model(X); print(acts)
N> model(X); print(acts)
""",
    "buffers: batch norm": """
N>
import torch; from torch import nn
torch.manual_seed(0); bn = nn.BatchNorm1d(2); x = torch.randn(8, 2); mean = bn.running_mean
R> bn(x); print(bn.num_batches_tracked)
N> print(mean, bn.running_mean is mean, bn.num_batches_tracked); bn.eval()
R> print(bn(x)[0], bn.training)
""",
    "early stopping keeps the best": f"""
N>{MAKE}
import copy
class Stop:
    def __init__(self): self.best, self.bad, self.state = 1e9, 0, None
    def see(self, loss, model):
        if loss < self.best: self.best, self.bad, self.state = loss, 0, copy.deepcopy(model.state_dict())
        else: self.bad += 1
        return self.bad > 1
stop = Stop()
R> print([stop.see(step(), model) for _ in range(3)])
N> print(stop.best, stop.bad); opt.param_groups[0]["lr"] = 5.
R> print([stop.see(step(), model) for _ in range(3)])
N> model.load_state_dict(stop.state); print(stop.best, model.weight.data)
""",
    "error in mid-training": f"""
N>{MAKE}
hist = []
R!>
for i in range(5):
    hist.append(step())
    if i == 2: raise RuntimeError("spot taken")
N> print(hist, model.weight.data, i)
R> hist.append(step())
N> print(hist, opt.param_groups[0]["params"][0] is model.weight)
""",
    "torch.save of a notebook's model": """
N>
import torch; from torch import nn
class Net(nn.Module):
    def __init__(self): super().__init__(); self.l = nn.Linear(1, 1)
    def forward(self, x): return self.l(x)
model = Net()
R>
import io
f = io.BytesIO(); torch.save(model, f); f.seek(0)
print(type(torch.load(f, weights_only=False)) is Net, Net.__module__)
N> f.seek(0); print(type(torch.load(f, weights_only=False)) is Net)
""",
    "the model stays, its history comes": f"""
N>{MAKE}
class Trainer:
    def __init__(self): self.model = nn.Linear(2, 1); self.pad = torch.zeros(300_000); self.history = []
    def fit(self): self.pad += 1; self.history.append(step())
history = []; t = Trainer(); t.history = history
R --fetch 1KB> t.fit()
N> print(history)
R --fetch 1KB> t.fit(); print(len(t.history), t.pad[0].item(), t.history is history)
N> print(history)
""",
    "parametrized layers": """
N>
import torch; from torch import nn; from torch.nn.utils import parametrize, parametrizations
torch.manual_seed(0); torch.set_num_threads(1)
model = nn.Sequential(parametrizations.weight_norm(nn.Linear(2, 2)), nn.Linear(2, 1)); X = torch.ones(1, 2)
params = list(model.parameters()); kind = type(model[0])
R> opt = torch.optim.Adam(params); model(X).sum().backward(); opt.step(); print(model[0].weight)
N> print(model[0].weight, all(a is b for a, b in zip(params, model.parameters())), type(model[0]) is kind)
N> parametrizations.orthogonal(model[1]); layers = [model[0], model[1]]; model.eval()
R> print(type(model[0]) is kind, model(X), model.training, layers[1] is model[1], type(layers[1]).__name__)
R> parametrize.remove_parametrizations(layers[0], "weight")
N> print(type(model[0]), model[0].weight, model[1].weight, layers[0] is model[0])
R>
class Symmetric(nn.Module):
    def forward(self, x): return x.triu() + x.triu(1).T
layer = nn.Linear(2, 2); parametrize.register_parametrization(layer, "weight", Symmetric()); print(layer.weight)
N> print(layer.weight, type(layer.parametrizations.weight[0]) is Symmetric)
N> parametrize.register_parametrization(layer, "bias", nn.Tanh())
R> print(layer.weight, layer.bias)
R> with parametrize.cached(): print(layer.bias is layer.bias)
""",
}
