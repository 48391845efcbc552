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

    def backward(self, x: Tensor, gradient: Tensor) -> None:  # (G, B, in), (G, B, out)
        """∂L/∂W = (∂L/∂y)ᵀ x and ∂L/∂b = Σ_B ∂L/∂y, into where the gradients lie already."""
        one, other = (x, gradient) if self.widens else (gradient, x)
        torch.bmm(one.mT, other, out=self.weight.grad)
        torch.sum(gradient, dim=1, keepdim=True, out=self.bias.grad)


class QNetwork(nn.Module):
    """Q(s, ·): two hidden layers over observations in units of `scale`.

    Dueling: Q = V + A - mean A, from one more output (Wang et al. 2016, eq. 9); a linear map of
    the outputs, so it is one in the other direction, too.
    """

    scale: Tensor  # (O,)

    def __init__(self, scale: Tensor, hidden: int, actions: int, agents: int, dueling: bool):
        super().__init__()
        self.register_buffer("scale", scale)
        self.agents, self.dueling = agents, dueling
        self.first = Linear(agents, len(scale), hidden)
        self.second = Linear(agents, hidden, hidden)
        self.value = Linear(agents, hidden, actions + dueling)

    def forward(self, observation: Tensor) -> Tensor:  # (G, B, O) -> (G, B, A)
        return self.with_hidden(observation / self.scale)[0]

    def with_hidden(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scaled observations (G, B, O) -> values (G, B, A) and both hidden layers (G, B, H)."""
        first = self.first(x).relu_()
        second = self.second(first).relu_()
        found = self.value(second)
        if self.dueling:
            value, advantage = found[..., :1], found[..., 1:]
            found = value + advantage - advantage.mean(dim=-1, keepdim=True)
        return found, first, second

    def backward(self, x: Tensor, first: Tensor, second: Tensor, gradient: Tensor) -> None:
        """The chain rule from ∂L/∂Q (G, B, A) back to every weight, into their `grad`.

        Written out, as there are three layers of matrices and autograd's own work would cost as
        much as theirs. A unit passes on what it is told where it was not cut off by the ReLU.
        """
        if self.dueling:
            total = gradient.sum(dim=-1, keepdim=True)  # of V: it is in every Q
            gradient = torch.cat([total, gradient - total / gradient.shape[-1]], dim=-1)
        self.value.backward(second, gradient)
        gradient = torch.bmm(gradient, self.value.matrix).mul_(second.sign())  # (G, B, H)
        self.second.backward(first, gradient)
        gradient = torch.bmm(gradient, self.second.matrix).mul_(first.sign())  # (G, B, H)
        self.first.backward(x, gradient)

    @torch.no_grad()
    def values(self, observations: np.ndarray) -> np.ndarray:  # (L, O) -> (L, A)
        """The same for arrays, one agent's observations beside each other."""
        seen = torch.as_tensor(observations, dtype=torch.float32, device=self.scale.device)
        found = self(seen.view(self.agents, -1, seen.shape[-1]))  # (G, B, A)
        return found.flatten(0, 1).cpu().numpy()

    def act(self, observations: np.ndarray) -> np.ndarray:  # (L, O) -> (L,)
        """The best action for each observation."""
        return self.values(observations).argmax(axis=1)

    def only(self, agent: int) -> QNetwork:
        """The network of one agent."""
        H, outputs = (layer.bias.shape[-1] for layer in (self.second, self.value))
        one = QNetwork(self.scale, H, outputs - self.dueling, 1, self.dueling)
        own = {k: v if k == "scale" else v[agent : agent + 1] for k, v in self.state_dict().items()}
        one.load_state_dict(own)
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
