"""The message-passing network that hears a neighbour through what their edge carries.

Shapes: N nodes, E edges, F features in, G features out, D edge features, U units of the network.
"""

import torch
from torch import Tensor, nn

from hour9.graphs.edge_weights import Heads, WeightedSums
from hour9.graphs.sparse import Sparse


class EdgeConvolution(nn.Module):
    """The edge network (Gilmer et al. 2017, section 5): x'_i = b + W x_i + Σ_j A(e_ji) x_j.

    A(e) = B + Σ_u ReLU(V e + c)_u A_u, a (F, G) matrix for each edge. None of them is ever built:
    Σ_j A(e_ji) x_j = Σ_u (Σ_j r_jiu x_j) A_u, so that each unit u is one head of a sparse product
    with r_u as its weights, and the matrices A_u follow once a node, not once an edge.
    """

    def __init__(self, features_in: int, features_out: int, edge_features: int, units: int):
        super().__init__()
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
        """(N, F), the pattern of `incoming` edges, (E, D) -> (N, G)."""
        weight = self.units(edge_x).relu()  # (E, U)
        weight = torch.cat([weight, weight.new_ones(len(weight), 1)], dim=1)
        weight = weight[neighbours.matrix.values()].T.flatten()  # ((U + 1) E,), as the rows lie
        heads = Heads.of(neighbours, len(self.matrices))
        everyone = x.expand(heads.count, *x.shape).flatten(0, 1)  # ((U + 1) N, F)
        heard = WeightedSums.apply(heads, weight, everyone).unflatten(0, (heads.count, -1))
        return torch.einsum("unf,ufg->ng", heard, self.matrices) + x @ self.root + self.bias
