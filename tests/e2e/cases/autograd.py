"""Gradients over the border: kept, or refused with the reason before the cell runs; never silently a leaf."""

from __future__ import annotations

from typing import Final

CASES: Final = {
    "a loss made here, backward there": """
REFUSED: the_loss
N> import torch; w = torch.ones(2, requires_grad=True); the_loss = (w * 3).sum()
R> the_loss.backward(); print(w.grad)
N> print(w.grad)
""",
    "a loss made there, backward there later": """
R> import torch; w = torch.ones(2, requires_grad=True); loss = (w * 3).sum()
R> loss.backward(); print(w.grad)
N> print(w.grad)
""",
    "a loss made there, read here, backward there": """
R> import torch; w = torch.ones(2, requires_grad=True); loss = (w * 3).sum()
N> print(loss.item(), w)
R> loss.backward(); print(w.grad)
N> print(w.grad)
""",
    "a hidden graph in a list": """
REFUSED: outputs
N> import torch; w = torch.ones(2, requires_grad=True); outputs = [w * 2]
R> outputs[0].sum().backward(); print(w.grad)
""",
    "detached and item": """
N> import torch; w = torch.ones(2, requires_grad=True); y = (w * 2).detach(); n = (w * 2).sum().item()
R> print(y, n, y.requires_grad)
N> print(y * 2)
""",
    "a leaf's gradient": """
N> import torch; w = torch.ones(2, requires_grad=True)
R> (w * 3).sum().backward()
N> print(w.grad, w.is_leaf); (w * 3).sum().backward()
R> print(w.grad); w.grad.zero_()
N> print(w.grad)
""",
    "retained gradient of a non-leaf": """
REFUSED: mid
R> import torch; w = torch.ones(2, requires_grad=True); mid = w * 2; mid.retain_grad(); mid.sum().backward(); print(mid.grad)
R> print(mid.grad)
""",
    "requires_grad switched here": """
N> import torch; x = torch.ones(2)
R> print((x * 2).requires_grad)
N> x.requires_grad_()
R> y = (x * 2).sum(); y.backward(); print(x.grad)
N> print(x.grad, x.requires_grad)
""",
    "no_grad made here": """
N>
import torch; w = torch.ones(2, requires_grad=True)
with torch.no_grad(): y = w * 2
R> print(y.requires_grad, y.grad_fn); z = y + w; print(z.requires_grad)
""",
    "a custom function": """
N>
import torch
class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return x * 2
    @staticmethod
    def backward(ctx, g): return g * 20
x = torch.ones(1, requires_grad=True)
R> Double.apply(x).backward()
N> print(x.grad)
R> Double.apply(x).backward(); print(x.grad)
""",
    "a function of the model, gradients by autograd.grad": """
N> import torch; x = torch.tensor(2., requires_grad=True)
R> (g,) = torch.autograd.grad(x ** 3, x); print(g)
N> print(g, x.grad)
""",
    "gradients set by hand": """
N> import torch; p = torch.nn.Parameter(torch.zeros(2)); grads = []
R> p.grad = torch.ones(2); grads.append(p.grad)
N> print(p.grad, grads[0] is p.grad); p.grad.mul_(3)
R> print(p.grad, grads[0] is p.grad)
""",
    "input optimisation": """
N> import torch; img = torch.zeros(2, requires_grad=True); opt = torch.optim.SGD([img], lr=.1)
R>
for _ in range(3):
    opt.zero_grad(); (img - 1).pow(2).sum().backward(); opt.step()
N> print(img, opt.param_groups[0]["params"][0] is img)
R> opt.zero_grad(); print(img.grad)
""",
    "a hidden state carried on": """
N> import torch; torch.manual_seed(0); torch.set_num_threads(1); rnn = torch.nn.GRU(1, 2); h = None; x = torch.ones(3, 1, 1)
R> out, h = rnn(x, h); h = h.detach()
N> print(h); out2, h2 = rnn(x, h); h2 = h2.detach()
R> print(h2, h2.requires_grad)
""",
}
