"""The message-passing network that hears a neighbour through what their edge carries.

Shapes: n nodes that hear, m nodes that are heard (the first n of them the same), E edges, Z of them
in use, F features in, G features out, D edge features, U units of the network.
"""

import torch
from torch import Tensor, nn

from hour9.graphs.edge_weights import Heads, WeightedSums
from hour9.graphs.receptive_field import Network
from hour9.graphs.sparse import Sparse, dropout


class EdgeConvolution(nn.Module):
    """The edge network (Gilmer et al. 2017, section 5): x'_i = b + W x_i + Σ_j A(e_ji) x_j.

    A(e) = B + Σ_u ReLU(V e + c)_u A_u, a (F, G) matrix for each edge. None of them is ever built:
    Σ_j A(e_ji) x_j = Σ_u (Σ_j r_jiu x_j) A_u, so that each unit u is one head of a sparse product
    with r_u as its weights, and the matrices A_u follow once a node, not once an edge. `mean`
    divides the sum by the number of neighbours.
    """

    def __init__(
        self,
        features_in: int,
        features_out: int,
        edge_features: int,
        units: int,
        mean: bool = False,
    ):
        super().__init__()
        self.mean = mean
        self.units = nn.Linear(edge_features, units)
        self.matrices = nn.Parameter(torch.empty(units + 1, features_in, features_out))
        self.root = nn.Parameter(torch.empty(features_in, features_out))
        self.bias = nn.Parameter(torch.zeros(features_out))
        bound = features_in**-0.5
        nn.init.uniform_(self.root, -bound, bound)
        nn.init.uniform_(self.matrices, -bound, bound)
        self.matrices.data[:-1] /= units**0.5  # the sum over the units stays as large as one
        # The last matrix is B, heard with weight 1 along every edge.

    def forward(self, x: Tensor, neighbours: Sparse, edge_x: Tensor) -> Tensor:
        """(m, F), the pattern of `incoming` edges, (E, D) -> (n, G)."""
        weight = self.units(edge_x.index_select(0, neighbours.matrix.value)).relu()  # (Z, U)
        weight = torch.cat([weight, weight.new_ones(len(weight), 1)], dim=1)
        if self.mean:
            count = neighbours.matrix.start.diff()  # (n,)
            weight = weight / count.repeat_interleave(count)[:, None]
        heads = Heads.of(neighbours, len(self.matrices))
        everyone = x.expand(heads.count, *x.shape).flatten(0, 1)  # ((U + 1) m, F)
        heard = WeightedSums.of(heads, weight.T.flatten(), everyone)
        heard = heard.unflatten(0, (heads.count, -1))  # (U + 1, n, F)
        own = x[: neighbours.shape[0]] @ self.root
        return torch.einsum("unf,ufg->ng", heard, self.matrices) + own + self.bias


def numbered(edges: Tensor, num_nodes: int) -> Sparse:  # (2, E) -> (N, N)
    """The pattern of edges, each once, that are walked both ways; its values are their numbers."""
    number = torch.arange(edges.shape[1]).repeat(2)
    row, column = torch.cat([edges.flip(0), edges], dim=1)
    return Sparse.of(row, column, number, (num_nodes, num_nodes))


class MPNN(Network):
    """Every node's features in few numbers, then two rounds in which edges decide what is heard.

    Means, not sums: a graph's hubs have a hundred times the neighbours of its leaves.
    """

    depth = 2

    def __init__(
        self,
        features: int,
        hidden: int,
        classes: int,
        edge_features: int,
        units: int,
        feature_dropout: float,
        hidden_dropout: float,
    ):
        super().__init__()
        self.first = Dense(features, hidden)
        self.second = EdgeConvolution(hidden, hidden, edge_features, units, mean=True)
        self.third = EdgeConvolution(hidden, classes, edge_features, units, mean=True)
        self.feature_dropout = feature_dropout
        self.hidden_dropout = hidden_dropout

    def step(
        self, layer: int, x: Tensor | Sparse, hop: Sparse, edge_x: Tensor | None = None
    ) -> Tensor:
        assert edge_x is not None
        if layer == 0:
            h = self.first(dropout(x, self.feature_dropout, self.training)).relu()
            return self.second(dropout(h, self.hidden_dropout, self.training), hop, edge_x).relu()
        return self.third(dropout(x, self.hidden_dropout, self.training), hop, edge_x)


class Dense(nn.Module):
    """x W + b, for features that may be sparse."""

    def __init__(self, features: int, hidden: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(features, hidden))
        self.bias = nn.Parameter(torch.zeros(hidden))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x: Tensor | Sparse) -> Tensor:  # (n, F) -> (n, H)
        return x @ self.weight + self.bias
