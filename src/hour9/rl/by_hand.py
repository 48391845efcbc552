"""A Q-network forward and back by hand, in tensors that are made once for many updates.

There are three layers of matrices, and autograd's own work would cost as much as theirs. So would
looking up a view or a weight by its name, and a new tensor for what each layer says.

Shapes: G agents, B observations of each, O numbers in an observation, H hidden, A actions.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from hour9.rl.qnetwork import Linear, QNetwork


@dataclass
class Layer:
    """A linear layer's weights, gradients and views of them."""

    bias: Tensor  # (G, 1, out)
    turned: Tensor  # Wᵀ, (G, in, out)
    matrix: Tensor  # W, (G, out, in)
    weight_gradient: Tensor  # (G, in, out) or (G, out, in), as the layer keeps it
    bias_gradient: Tensor  # (G, 1, out)
    widens: bool

    @classmethod
    def of(cls, layer: Linear) -> "Layer":
        """Its gradients must be there already (adam.py makes them)."""
        weight, bias = layer.weight.grad, layer.bias.grad
        assert weight is not None
        assert bias is not None
        matrix = layer.matrix.detach()
        return cls(layer.bias.detach(), matrix.mT, matrix, weight, bias, layer.widens)

    def forward(self, x: Tensor, out: Tensor) -> Tensor:  # (G, B, in) -> (G, B, out)
        return torch.baddbmm(self.bias, x, self.turned, out=out)

    def backward(self, x: Tensor, gradient: Tensor) -> None:  # (G, B, in), (G, B, out)
        """∂L/∂W = (∂L/∂y)ᵀ x and ∂L/∂b = Σ_B ∂L/∂y, into where the gradients lie already."""
        one, other = (x, gradient) if self.widens else (gradient, x)
        torch.bmm(one.mT, other, out=self.weight_gradient)
        torch.sum(gradient, dim=1, keepdim=True, out=self.bias_gradient)


class ByHand:
    """The way of `rows` scaled observations through the network; the first `learned` go back."""

    def __init__(self, network: QNetwork, rows: int, learned: int):
        self.network = network
        self.first, self.second, self.value = (
            Layer.of(layer) for layer in (network.first, network.second, network.value)
        )
        G, H = network.agents, self.second.bias.shape[-1]

        def hidden(many: int) -> Tensor:
            return self.value.bias.new_empty(G, many, H)

        self.of_first, self.of_second = hidden(rows), hidden(rows)
        self.found = self.value.bias.new_empty(G, rows, self.value.bias.shape[-1])
        self.to_first, self.to_second = hidden(learned), hidden(learned)  # gradients
        self.kept = self.of_first[:, :learned], self.of_second[:, :learned]

    def forward(self, x: Tensor) -> Tensor:  # (G, rows, O) -> (G, rows, A)
        """Q(s, ·); what the hidden layers said stays for the way back."""
        self.first.forward(x, self.of_first).relu_()
        self.second.forward(self.of_first, self.of_second).relu_()
        return self.network.combined(self.value.forward(self.of_second, self.found))

    def backward(self, x: Tensor, gradient: Tensor) -> None:  # (G, learned, O), (G, learned, A)
        """The chain rule from ∂L/∂Q back to every weight, into their `grad`.

        What a hidden layer said is no longer needed once the layer above has its gradient, so its
        sign, the ReLU's slope, takes its place. The largest gradient is written last: Adam then
        finds it in the cache.
        """
        (first, second), gradient = self.kept, self.network.parted(gradient)
        self.value.backward(second, gradient)
        to_second = torch.bmm(gradient, self.value.matrix, out=self.to_second)
        to_second.mul_(second.sign_())
        to_first = torch.bmm(to_second, self.second.matrix, out=self.to_first)
        self.second.backward(first, to_second)
        self.first.backward(x, to_first.mul_(first.sign_()))
