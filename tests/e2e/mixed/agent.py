"""Reinforcement learning: an agent with a replay memory, two networks and an environment, played on both sides."""

from __future__ import annotations

from typing import Final

NOTEBOOK: Final = """
N>
import random
from collections import deque, namedtuple
import torch
from torch import nn
torch.set_num_threads(1)
random.seed(5)
torch.manual_seed(5)
Transition = namedtuple("Transition", "state action reward next done")
N>
class Corridor:
    def __init__(self, length=5):
        self.length, self.episodes = length, 0
        self.reset()

    def reset(self):
        self.position, self.steps = 0, 0
        self.episodes += 1
        return self.observe()

    def observe(self):
        return torch.eye(self.length)[self.position]

    def step(self, action):
        self.position = max(0, self.position + (1 if action else -1))
        self.steps += 1
        done = self.position == self.length - 1 or self.steps >= 20
        return self.observe(), float(self.position == self.length - 1), done

class Memory:
    def __init__(self, size):
        self.items = deque(maxlen=size)

    def push(self, *parts):
        self.items.append(Transition(*parts))

    def sample(self, n):
        return random.sample(self.items, n)

env, memory = Corridor(), Memory(100)
R>
policy = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2))
target = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2))
target.load_state_dict(policy.state_dict())
optimizer = torch.optim.Adam(policy.parameters(), lr=0.02)
eps = 1.0
returns = []
N>
def act(state):
    if random.random() < eps:
        return random.randrange(2)
    with torch.no_grad():
        return int(policy(state).argmax())

def learn(n=8, gamma=0.9):
    if len(memory.items) < n:
        return None
    batch = Transition(*zip(*memory.sample(n)))
    q = policy(torch.stack(batch.state)).gather(1, torch.tensor(batch.action)[:, None])[:, 0]
    with torch.no_grad():
        best = target(torch.stack(batch.next)).max(1).values * (1 - torch.tensor(batch.done).float())
    loss = nn.functional.smooth_l1_loss(q, torch.tensor(batch.reward) + gamma * best)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()

def play(episodes):
    global eps
    for _ in range(episodes):
        state, total, done = env.reset(), 0.0, False
        while not done:
            action = act(state)
            after, reward, done = env.step(action)
            memory.push(state, action, reward, after, done)
            state, total = after, total + reward
            learn()
        returns.append(total - env.steps / 100)
        eps *= 0.8
R>
play(3)
print(returns, round(eps, 4), len(memory.items), env.episodes)
N>
print(returns, len(memory.items), random.random())
target.load_state_dict(policy.state_dict())
play(1)
print(returns, round(eps, 4))
R>
play(3)
target.load_state_dict(policy.state_dict())
print(returns, [round(v, 4) for v in policy(torch.eye(5)).max(1).values.tolist()])
N>
eps = 0.0
env.length
print(act(env.reset()), memory.items[-1].done, len(optimizer.state), round(policy[0].weight.sum().item(), 4))
memory.items.clear()
R>
print(len(memory.items), eps)
play(2)
print(returns[-2:], len(memory.items))
N> print(returns, env.episodes, len(memory.items), memory.items.maxlen, random.random())
"""
