"""The graph convolutional network.

Shapes: N nodes, E edges, F features, H hidden, K classes; of a part of the graph, n nodes that hear
and m that are heard. `edges` is (2, E), each edge once: row 0
the sources, row 1 the targets.
"""

import torch
from torch import Tensor, nn

from hour9.graphs.receptive_field import Network
from hour9.graphs.sparse import Sparse, dropout

ROUNDS = 10
"""Of smoothing: as many as in the paper's experiments."""


class GraphConvolution(nn.Module):
    """One step of averaging over neighbours (Kipf & Welling 2017, eq. 2): Â X W + b.

    Node by node: x'_i = b + Σ_j Â_ij W x_j, over the neighbours j of i and i itself.
    """

    def __init__(self, features_in: int, features_out: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(features_in, features_out))
        self.bias = nn.Parameter(torch.zeros(features_out))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x: Tensor | Sparse, adjacency: Sparse) -> Tensor:  # (m, F_in) -> (n, F_out)
        return adjacency @ (x @ self.weight) + self.bias


def normalised_adjacency(
    edges: Tensor, num_nodes: int, dtype: torch.dtype = torch.float32
) -> Sparse:  # (2, E) -> (N, N)
    """Â = D^-½ (A + I) D^-½: every node is its own neighbour, once; d counts neighbours.

    Â_ij = 1 / √(d_i d_j) for neighbours i, j, else 0.
    """
    edges = edges[:, edges[0] != edges[1]]  # a loop of the graph's own is the one of I
    loops = torch.arange(num_nodes).expand(2, -1)  # (2, N)
    row, column = torch.cat([edges, edges.flip(0), loops], dim=1)  # (2E + N,) each
    degree = torch.bincount(row, minlength=num_nodes).to(dtype)  # (N,), at least 1
    return Sparse.of(row, column, (degree[row] * degree[column]).rsqrt(), (num_nodes, num_nodes))


def smoothed(shares: Tensor, adjacency: Sparse, smoothing: float) -> Tensor:  # (N, K) -> (N, K)
    """Each node's class shares, moved towards its neighbours', which are so often of its class.

    Personalised PageRank by iteration (Klicpera et al. 2019, section 3): Z ← (1 - s) P + s Â Z. It
    is the last half of Correct & Smooth (Huang et al. 2021): nothing is learnt, ten hops are heard.
    """
    found = shares
    for _ in range(ROUNDS if smoothing else 0):
        found = (1 - smoothing) * shares + smoothing * (adjacency @ found)
    return found / found.sum(dim=1, keepdim=True)


class GCN(Network):
    """Two graph convolutions (Kipf & Welling 2017, eq. 9, before its softmax): Â ReLU(Â X W₀) W₁.

    A node so hears of the nodes up to two edges away, labelled or not.
    """

    depth = 2

    def __init__(
        self,
        features: int,
        hidden: int,
        classes: int,
        feature_dropout: float,
        hidden_dropout: float,
    ):
        super().__init__()
        self.first = GraphConvolution(features, hidden)
        self.second = GraphConvolution(hidden, classes)
        self.feature_dropout = feature_dropout
        self.hidden_dropout = hidden_dropout

    def step(
        self, layer: int, x: Tensor | Sparse, hop: Sparse, edge_x: Tensor | None = None
    ) -> Tensor:
        if layer == 0:
            return self.first(dropout(x, self.feature_dropout, self.training), hop).relu()
        return self.second(dropout(x, self.hidden_dropout, self.training), hop)
