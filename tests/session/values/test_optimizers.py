"""Optimizers of torch and of the notebook keep all of their attributes on both sides, in one memory as natively."""

from __future__ import annotations

from typing import Final

import pytest

from tests.session.two_memories import TwoMemories

SETUP: Final = """
import warnings
import torch
class Sam(torch.optim.Optimizer):
    def __init__(self, params, base):
        super().__init__(params, dict(rho=0.5))
        self.base = base(self.param_groups, lr=0.1)
        self.param_groups = self.base.param_groups
        self.steps, self.hist = 0, []
    @torch.no_grad()
    def step(self, closure=None):
        self.base.step()
        self.steps += 1
        self.hist.append(float(self.param_groups[0]['params'][0].sum()))
class Secretive(torch.optim.SGD):
    def __getstate__(self):
        return {**super().__getstate__(), 'kept': self.kept}
weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
def loss():
    opt.zero_grad()
    found = (weight ** 2).sum()
    found.backward()
    return found
"""


CASES: Final = {
    "attribute of torch's class": (
        "opt = torch.optim.LBFGS([weight], lr=0.1)",
        "opt.step(loss)",
        "(weight.tolist(), opt._params is opt.param_groups[0]['params'], opt._params[0] is weight)",
    ),
    "attributes of the notebook's class": (
        "opt = Sam([weight], torch.optim.SGD)",
        "loss(); opt.step()",
        "(weight.tolist(), opt.steps, opt.hist, opt.base.param_groups is opt.param_groups)",
    ),
    "attribute that the user sets": (
        "opt = torch.optim.Adam([weight]); opt.tag = 'mine'; opt.notes = notes = []",
        "loss(); opt.step(); opt.tag += '!'; opt.notes.append(opt.tag)",
        "(weight.tolist(), opt.tag, opt.notes, opt.notes is notes)",
    ),
    "attributes that come and go": (
        "opt = torch.optim.SGD([weight], lr=0.1); count = 0; opt.n0 = 0",
        "delattr(opt, f'n{count}'); count += 1; setattr(opt, f'n{count}', count)",
        "[(name, value) for name, value in vars(opt).items() if name.startswith('n')]",
    ),
    "attribute that refers to the optimizer": (
        "opt = torch.optim.SGD([weight], lr=0.1); opt.owner = {'opt': opt, 'n': 0}",
        "opt.owner['n'] += 1",
        "(opt.owner['n'], opt.owner['opt'] is opt)",
    ),
    "step that the user sets": (
        "opt = torch.optim.SGD([weight], lr=0.1); opt.step = lambda: opt.param_groups[0].update(lr=9)",
        "opt.step(); opt.param_groups[0]['lr'] += len(opt.param_groups)",
        "opt.param_groups[0]['lr']",
    ),
    "state that the class chooses": (
        "opt = Secretive([weight], lr=0.1); opt.kept = 0",
        "opt.kept += 1",
        "(opt.kept, opt.param_groups[0]['params'][0] is weight)",
    ),
    "scheduler": (
        "opt = torch.optim.SGD([weight], lr=1.0); opt.tag = []\n"
        "scheduler = torch.optim.lr_scheduler.StepLR(opt, 1, 0.5)",
        "warnings.simplefilter('error'); loss(); opt.step(); scheduler.step(); opt.tag.append(1)",
        "(weight.tolist(), opt.tag, scheduler.get_last_lr(), scheduler.optimizer is opt)",
    ),
}
"""Statements that make the optimizer, and change it in place; the expression that shows its content."""


@pytest.mark.parametrize("case", CASES)
def test_a_change_of_an_optimizer_is_seen_on_both_sides(case: str) -> None:
    made, change, content = CASES[case]
    memories = TwoMemories()
    memories.native(SETUP)
    memories.native(made)
    memories.remote(f"seen = {content}; other = opt")
    for remotely in (True, False, True, True, False, False):
        act, look = (memories.remote, memories.native) if remotely else (memories.native, memories.remote)
        act(change)
        look(f"seen = ({content}, other is opt)")
        assert (memories.here if remotely else memories.there)["seen"] == memories.model["seen"]


def test_hooks_of_an_optimizer_stay_on_their_side() -> None:
    memories = TwoMemories()
    memories.native(f"{SETUP}\nopt = torch.optim.SGD([weight], lr=0.1); calls = []")
    memories.native("handle = opt.register_step_post_hook(lambda *_: calls.append(1))")
    memories.remote("loss(); opt.step_tag = 1; len(opt._optimizer_step_post_hooks)")
    memories.native("loss(); opt.step(); seen = (calls, opt.step_tag)")
    assert memories.here["seen"] == ([1], 1)
