"""Adam over all weights of a network at once.

A small network's update is dispatch, not arithmetic: six tensors of weights are six calls and
more. So the weights, and their gradients, are views into one vector each.

Shapes: P weights in all.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from hour9.engine.checkpoint import State

KEPT, KEPT_OF_SQUARES, LEAST = 0.9, 0.999, 1e-8
"""β₁, β₂ and ε, as in the paper."""


@dataclass
class Vector:
    """All weights of a network with their gradient; the network's own tensors are views of them."""

    weights: Tensor  # (P,)
    gradient: Tensor  # (P,)

    @classmethod
    def of(cls, network: nn.Module) -> "Vector":
        """Lay the network's weights into one vector. Its gradients are there from then on."""
        parts = [*network.parameters()]
        weights = torch.cat([part.detach().flatten() for part in parts])
        vector = cls(weights, torch.zeros_like(weights))
        sizes = [part.numel() for part in parts]
        views = zip(vector.weights.split(sizes), vector.gradient.split(sizes), strict=True)
        for part, (own, gradient) in zip(parts, views, strict=True):
            part.data, part.grad = own.view_as(part), gradient.view_as(part)
        return vector


@dataclass
class Adam:
    """w ← w - η m̂ / (√v̂ + ε) (Kingma & Ba 2015, algorithm 1)."""

    vector: Vector
    mean: Tensor = field(init=False)  # m, (P,)
    square: Tensor = field(init=False)  # v, (P,)
    steps: Tensor = field(init=False)  # so far, for the correction of both
    one: Tensor = field(init=False)

    def __post_init__(self) -> None:
        weights = self.vector.weights
        self.mean, self.square = torch.zeros_like(weights), torch.zeros_like(weights)
        self.steps = torch.zeros((), device=weights.device)
        self.one = torch.ones_like(self.steps)

    def step(self, learning_rate: float) -> None:
        """One update: the call that torch.optim.Adam(fused=True) makes, and no more.

        A unit that the ReLU always cuts off has no gradient, so its m decays until it is too small
        to move a weight, but not for the processor, which takes its time over such numbers: in a
        training they were a third to half of all. Here they are 0.
        """
        torch.set_flush_denormal(True)
        self.steps.add_(self.one)  # a Python number would be made a tensor of, each time
        torch._fused_adam_(
            [self.vector.weights],
            [self.vector.gradient],
            [self.mean],
            [self.square],
            [],
            [self.steps],
            lr=learning_rate,
            beta1=KEPT,
            beta2=KEPT_OF_SQUARES,
            weight_decay=0.0,
            eps=LEAST,
            amsgrad=False,
            maximize=False,
        )
        torch.set_flush_denormal(False)

    def state(self) -> State:
        """Fit for a checkpoint."""
        return {"mean": self.mean, "square": self.square, "steps": self.steps}

    def restore(self, state: State) -> None:
        """The inverse of `state`."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])
