"""The graph isomorphism network.

Shapes: G graphs, N nodes, S edges as walked, F features, H hidden, D edge features, K outputs.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hour9.graphs.batches import Graphs


class GraphIsomorphism(nn.Module):
    """As good as colour refinement at telling graphs apart (Xu et al. 2019, eq. 4.1 with ε = 0).

    x'_i = MLP(x_i + Σ_j x_j): a sum keeps the whole multiset of neighbours, of which a mean or a
    maximum forgets some. With edge features, MLP(x_i + Σ_j ReLU(x_j + W e_ji)) (Hu et al. 2020).
    """

    def __init__(self, features: int, hidden: int, edge_features: int = 0):
        super().__init__()
        self.edges = nn.Linear(edge_features, features) if edge_features else None
        self.network = nn.Sequential(
            nn.Linear(features, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, hidden),
        )

    def forward(self, x: Tensor, graphs: Graphs) -> Tensor:  # (N, F) -> (N, H)
        if self.edges is None:
            return self.network(x + graphs.adjacency @ x)
        messages = (graphs.sources @ x + self.edges(graphs.edge_x)).relu()  # (S, F)
        return self.network(x + graphs.targets @ messages)


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
        self.norms = nn.ModuleList(nn.BatchNorm1d(hidden) for _ in range(layers))
        self.dropout = dropout
        self.output = nn.Linear(sum(widths), outputs)

    def forward(self, graphs: Graphs) -> Tensor:  # (N, F) -> (G, K)
        known = [graphs.x]
        for layer, norm in zip(self.layers, self.norms, strict=True):
            known.append(norm(layer(known[-1], graphs)).relu_())
        sums = torch.cat([graphs.members @ x for x in known], dim=1)  # (G, F + layers H)
        return self.output(F.dropout(sums, self.dropout, self.training))
