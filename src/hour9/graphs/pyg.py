"""The same layers written as messages, on PyG's `MessagePassing`.

Each takes over a layer of `gcn`, `gat` or `mpnn`, weights and all, and computes the same: the
general way, edge by edge, beside the fast one. In training, attention is dropped as often, but not
at the same places. It takes any graph, with parallel edges too, and is the place to try a new
message. Importing this costs 17 s of CPU: no stage does.

Shapes: N nodes, E edges, F features in, G features out, H heads, C channels a head. `edges` is
(2, E): row 0 the sources, row 1 the targets.
"""

import torch.nn.functional as F
from torch import Tensor
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import add_self_loops, degree, remove_self_loops, softmax

from hour9.graphs.gat import GraphAttention, GraphAttentionV2
from hour9.graphs.gcn import GraphConvolution
from hour9.graphs.message_passing import SLOPE
from hour9.graphs.mpnn import EdgeConvolution


def with_self_loops(edges: Tensor, num_nodes: int) -> Tensor:
    """Every node its own neighbour, once."""
    return add_self_loops(remove_self_loops(edges)[0], num_nodes=num_nodes)[0]


class ConvolutionByMessages(MessagePassing):
    """`GraphConvolution`, message by message."""

    def __init__(self, layer: GraphConvolution):
        super().__init__(aggr="sum")
        self.layer = layer

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:  # (N, F), (2, E) -> (N, G)
        edges = with_self_loops(edges, len(x))
        scale = degree(edges[1], len(x), x.dtype).rsqrt()[:, None]  # (N, 1)
        return self.propagate(edges, x=x @ self.layer.weight, scale=scale) + self.layer.bias

    def message(self, x_j: Tensor, scale_i: Tensor, scale_j: Tensor) -> Tensor:  # (E, G)
        return scale_i * scale_j * x_j


class AttentionByMessages(MessagePassing):
    """`GraphAttention`, message by message."""

    def __init__(self, layer: GraphAttention):
        super().__init__(aggr="sum", node_dim=0)
        self.layer = layer

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:  # (N, F), (2, E) -> (N, H C)
        h = (x @ self.layer.weight).unflatten(1, (self.layer.heads, -1))  # (N, H, C)
        heard = self.propagate(with_self_loops(edges, len(x)), x=h)  # (N, H, C)
        return heard.flatten(1) + self.layer.bias

    def message(self, x_i: Tensor, x_j: Tensor, index: Tensor, size_i: int) -> Tensor:
        score = (self.layer.score_to * x_i + self.layer.score_of * x_j).sum(-1)  # (E, H)
        score = F.leaky_relu(score, SLOPE)
        return shares(self.layer, score, index, size_i) * x_j


class AttentionV2ByMessages(MessagePassing):
    """`GraphAttentionV2`, message by message."""

    def __init__(self, layer: GraphAttentionV2):
        super().__init__(aggr="sum", node_dim=0)
        self.layer = layer

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:  # (N, F), (2, E) -> (N, H C)
        to, of = (
            (x @ weight).unflatten(1, (self.layer.heads, -1))  # (N, H, C)
            for weight in (self.layer.to_weight, self.layer.of_weight)
        )
        heard = self.propagate(with_self_loops(edges, len(x)), to=to, of=of)  # (N, H, C)
        return heard.flatten(1) + self.layer.bias

    def message(self, to_i: Tensor, of_j: Tensor, index: Tensor, size_i: int) -> Tensor:
        score = (F.leaky_relu(to_i + of_j, SLOPE) * self.layer.score).sum(-1)  # (E, H)
        return shares(self.layer, score, index, size_i) * of_j


def shares(
    layer: GraphAttention | GraphAttentionV2, score: Tensor, index: Tensor, num_nodes: int
) -> Tensor:  # (E, H) -> (E, H, 1)
    """α, with the layer's dropout."""
    share = softmax(score, index, num_nodes=num_nodes)[..., None]
    return F.dropout(share, layer.dropout, layer.training)


class EdgeConvolutionByMessages(MessagePassing):
    """`EdgeConvolution`, message by message; another `aggregate` can stand for the layer's own."""

    def __init__(self, layer: EdgeConvolution, aggregate: str | None = None):
        super().__init__(aggr=aggregate or ("mean" if layer.mean else "sum"))
        self.layer = layer

    def forward(self, x: Tensor, edges: Tensor, edge_x: Tensor) -> Tensor:  # (N, F) -> (N, G)
        heard = self.propagate(edges, x=x, edge_x=edge_x)
        return heard + x @ self.layer.root + self.layer.bias

    def message(self, x_j: Tensor, edge_x: Tensor) -> Tensor:  # (E, G)
        units, (*matrices, first) = self.layer.units(edge_x).relu(), self.layer.matrices
        made = first + sum(units[:, u, None, None] * a for u, a in enumerate(matrices))  # (E, F, G)
        return (x_j[:, None] @ made).squeeze(1)
