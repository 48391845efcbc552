"""The values of all actions from a network, of several agents at once.

A small network's time goes into the number of calls, not into arithmetic. So the agents' networks,
which share nothing, lie on top of each other, and one call serves them all.

Shapes: G agents, B observations of each, L = G B, O numbers in an observation, H hidden, A actions.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hour9.engine.weights import load_model


class Linear(nn.Module):
    """x Wᵀ + b for each agent, begun as torch begins its own.

    Of W and Wᵀ the one with fewer rows is kept: a product with few columns takes four times as
    long as one with few rows.
    """

    def __init__(self, agents: int, inputs: int, outputs: int):
        super().__init__()
        reach = 1 / math.sqrt(inputs)
        self.widens = inputs < outputs
        shape = (inputs, outputs) if self.widens else (outputs, inputs)
        self.weight = nn.Parameter(torch.empty(agents, *shape).uniform_(-reach, reach))
        self.bias = nn.Parameter(torch.empty(agents, 1, outputs).uniform_(-reach, reach))

    @property
    def matrix(self) -> Tensor:  # (G, out, in)
        """W."""
        return self.weight.mT if self.widens else self.weight

    def forward(self, x: Tensor) -> Tensor:  # (G, B, in) -> (G, B, out)
        return torch.baddbmm(self.bias, x, self.matrix.mT)


class QNetwork(nn.Module):
    """Two hidden layers over observations in units of `scale`; they say q, and Q(s, ·) = c + u q.

    `worth` is c and u, by which rewards are told (learner.py); 0 and 1 if nothing is said.
    Dueling: q = V + A - mean A, from one more output (Wang et al. 2016, eq. 9); a linear map of
    the outputs, so it is one in the other direction, too.
    """

    scale: Tensor  # (O,)
    worth: Tensor  # (2,)

    def __init__(self, scale: Tensor, hidden: int, actions: int, agents: int, dueling: bool):
        super().__init__()
        self.register_buffer("scale", scale)
        self.register_buffer("worth", torch.tensor([0.0, 1.0]))
        self.agents, self.dueling = agents, dueling
        self.first = Linear(agents, len(scale), hidden)
        self.second = Linear(agents, hidden, hidden)
        self.value = Linear(agents, hidden, actions + dueling)

    def forward(self, observation: Tensor) -> Tensor:  # (G, B, O) -> (G, B, A), q
        first = self.first(observation / self.scale).relu_()
        return self.combined(self.value(self.second(first).relu_()))

    def combined(self, found: Tensor) -> Tensor:  # (G, B, A or 1 + A) -> (G, B, A)
        """Q from what the last layer says."""
        if not self.dueling:
            return found
        value, advantage = found[..., :1], found[..., 1:]
        return value + advantage - advantage.mean(dim=-1, keepdim=True)

    def parted(self, gradient: Tensor) -> Tensor:  # (G, B, A) -> (G, B, A or 1 + A)
        """∂L/∂Q as the gradient of what the last layer says."""
        if not self.dueling:
            return gradient
        total = gradient.sum(dim=-1, keepdim=True)  # of V: it is in every Q
        return torch.cat([total, gradient - total / gradient.shape[-1]], dim=-1)

    @torch.no_grad()
    def told(self, observations: np.ndarray) -> np.ndarray:  # (L, O) -> (L, A)
        """q for arrays, one agent's observations beside each other."""
        seen = torch.as_tensor(observations, dtype=torch.float32, device=self.scale.device)
        found = self(seen.view(self.agents, -1, seen.shape[-1]))  # (G, B, A)
        return found.flatten(0, 1).cpu().numpy()

    def values(self, observations: np.ndarray) -> np.ndarray:  # (L, O) -> (L, A)
        """Q(s, ·), in what the environment pays."""
        centre, unit = self.worth.tolist()
        return centre + unit * self.told(observations)

    def act(self, observations: np.ndarray) -> np.ndarray:  # (L, O) -> (L,)
        """The best action for each observation."""
        return self.told(observations).argmax(axis=1)

    def only(self, agent: int) -> QNetwork:
        """The network of one agent."""
        H, outputs = (layer.bias.shape[-1] for layer in (self.second, self.value))
        one = QNetwork(self.scale, H, outputs - self.dueling, 1, self.dueling)
        own = {name: weight[agent : agent + 1] for name, weight in self.named_parameters()}
        one.load_state_dict({**own, **dict(self.named_buffers())})
        return one.eval()


def load_network(folder: Path) -> tuple[QNetwork, dict[str, Any]]:
    """All agents' network on the CPU, where a small one answers fastest, and its config."""
    weights, config = load_model(folder)
    settings = config["settings"]
    network = QNetwork(
        weights["scale"],
        settings["hidden"],
        config["actions"],
        settings["seeds"],
        settings["dueling"],
    )
    network.load_state_dict(weights)
    return network.eval(), config
