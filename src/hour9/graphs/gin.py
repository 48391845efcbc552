"""The graph isomorphism network.

Shapes: G graphs, N nodes, S edges as walked, F features, H hidden, D edge features, K outputs.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hour9.graphs.batches import Graphs
from hour9.graphs.sparse import ByRow

MOMENTUM, EPSILON = 0.1, 1e-5  # of the batch norm, as torch has them


class GraphIsomorphism(nn.Module):
    """As good as colour refinement at telling graphs apart (Xu et al. 2019, eq. 4.1 with ε = 0).

    x'_i = MLP(x_i + Σ_j x_j): a sum keeps the whole multiset of neighbours, of which a mean or a
    maximum forgets some. With edge features, MLP(x_i + Σ_j ReLU(x_j + W e_ji)) (Hu et al. 2020).
    """

    def __init__(self, features: int, hidden: int, edge_features: int = 0):
        super().__init__()
        self.edges = nn.Linear(edge_features, features) if edge_features else None
        self.first, self.second = Normalised(features, hidden), Normalised(hidden, hidden)

    def forward(self, x: Tensor, graphs: Graphs) -> Tensor:  # (N, F) -> (N, H)
        if self.edges is None:
            heard = Neighbourhood.apply(graphs.adjacency.matrix, x)
        else:
            messages = (graphs.sources @ x + self.edges(graphs.edge_x)).relu()  # (S, F)
            heard = x + graphs.targets @ messages
        return self.second(self.first(heard))


class Neighbourhood(torch.autograd.Function):
    """x_i + Σ_j x_j. Edges are walked both ways, so its gradient is the same of the gradient."""

    @staticmethod
    def forward(ctx: Any, adjacency: ByRow, x: Tensor) -> Tensor:  # (N, F) -> (N, F)
        ctx.adjacency = adjacency
        return (adjacency @ x).add_(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:  # type: ignore[override]
        return None, (ctx.adjacency @ gradient).add_(gradient)


class ReadOut(torch.autograd.Function):
    """Sums over the nodes of each graph, of several vectors a node, side by side."""

    @staticmethod
    def forward(ctx: Any, graphs: Graphs, *known: Tensor) -> Tensor:  # (N, F_l) each -> (G, Σ F_l)
        ctx.graphs, ctx.widths = graphs, [x.shape[1] for x in known]
        return torch.cat([graphs.members.matrix @ x for x in known], dim=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        graph = ctx.graphs.members.transpose.column  # (N,), the graph that each node is in
        return None, *(g.index_select(0, graph) for g in gradient.split(ctx.widths, dim=1))


class Normalised(nn.Module):
    """ReLU(BatchNorm(x W)): each unit with mean β and spread γ over the batch, then cut at 0.

    A bias would have no effect before the mean is taken away (Ioffe & Szegedy 2015).
    """

    def __init__(self, features: int, hidden: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(features, hidden))
        self.scale = nn.Parameter(torch.ones(hidden))
        self.shift = nn.Parameter(torch.zeros(hidden))
        self.register_buffer("mean", torch.zeros(hidden))
        self.register_buffer("variance", torch.ones(hidden))
        nn.init.kaiming_uniform_(self.weight.T, a=5**0.5)  # as torch's Linear

    def forward(self, x: Tensor) -> Tensor:  # (N, F) -> (N, H)
        parameters = self.weight, self.scale, self.shift, self.mean, self.variance
        return NormalisedProduct.apply(x, *parameters, self.training)


class NormalisedProduct(torch.autograd.Function):
    """The three steps as one: a small network's time is mostly the way from step to step.

    The gradients are the chain rule by hand: through the ReLU where it let through, through the
    batch norm (torch's own), then g Wᵀ to x and xᵀ g to W.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        scale: Tensor,
        shift: Tensor,
        mean: Tensor,
        variance: Tensor,
        training: bool,
    ) -> Tensor:
        h = torch.mm(x.to(weight.dtype), weight, out=weight.new_empty(len(x), weight.shape[1]))
        # With `out`, autocast leaves a product in the format that it came in.
        one = training and len(x) == 1  # of one row, no spread is to be learned
        out, now, spread = torch.native_batch_norm(
            h,
            scale,
            shift,
            None if one else mean,
            None if one else variance,
            training,
            MOMENTUM,
            EPSILON,
        )
        out.relu_()
        past = (None, None) if training else (mean, variance)
        ctx.save_for_backward(x, weight, scale, h, now, spread, out, *past)
        ctx.training = training
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight, scale, h, now, spread, out, *past = ctx.saved_tensors
        gradient = torch.ops.aten.threshold_backward(gradient, out, 0)
        gradient, to_scale, to_shift = torch.ops.aten.native_batch_norm_backward(
            gradient, h, scale, *past, now, spread, ctx.training, EPSILON, [True] * 3
        )
        to_x = (gradient @ weight.T).to(x.dtype) if ctx.needs_input_grad[0] else None
        return to_x, x.T.to(weight.dtype) @ gradient, to_scale, to_shift, None, None, None


class GIN(nn.Module):
    """Layers of isomorphism; each is summed over a graph, all sums speak (Xu et al. 2019, eq. 4.2).

    Their number is how far a node hears; what early layers know of small surroundings generalises
    better, so they are heard too (jumping knowledge).
    """

    def __init__(
        self,
        features: int,
        edge_features: int,
        outputs: int,
        hidden: int,
        layers: int,
        dropout: float,
    ):
        super().__init__()
        widths = [features] + [hidden] * layers
        self.layers = nn.ModuleList(
            GraphIsomorphism(before, hidden, edge_features) for before in widths[:-1]
        )
        self.dropout = dropout
        self.output = nn.Linear(sum(widths), outputs)

    def forward(self, graphs: Graphs) -> Tensor:  # (N, F) -> (G, K)
        known = [graphs.x]
        for layer in self.layers:
            known.append(layer(known[-1], graphs))
        sums = ReadOut.apply(graphs, *known)  # (G, F + layers H)
        return self.output(F.dropout(sums, self.dropout, self.training))
