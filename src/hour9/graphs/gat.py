"""The graph attention network.

Shapes: n nodes that hear, m nodes that are heard (the first n of them the same), F features, H
heads, C channels a head, K classes, Z edges with self-loops.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hour9.graphs.edge_weights import Heads, PairSums, Shares, WeightedSums
from hour9.graphs.message_passing import SLOPE
from hour9.graphs.receptive_field import Network
from hour9.graphs.sparse import Sparse, dropout, dropped


class GraphAttention(nn.Module):
    """A mean over neighbours whose weights are learnt (Veličković et al. 2018, eq. 1 to 5).

    x'_i = b + Σ_j α_ij W x_j, α_ij = softmax over j of LeakyReLU(a_to · W x_i + a_of · W x_j).
    The scores are sums of two numbers that each node has: no vector is gathered to an edge.
    """

    def __init__(self, features: int, channels: int, heads: int, dropout: float = 0.0):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.weight = nn.Parameter(torch.empty(features, heads * channels))
        self.score_to = nn.Parameter(torch.empty(heads, channels))
        self.score_of = nn.Parameter(torch.empty(heads, channels))
        self.bias = nn.Parameter(torch.zeros(heads * channels))
        for parameter in (self.weight, self.score_to, self.score_of):
            nn.init.xavier_uniform_(parameter)

    def forward(self, x: Tensor | Sparse, neighbours: Sparse) -> Tensor:  # (m, F) -> (n, H C)
        """Of `neighbours` only the pattern counts: row i holds whom node i hears."""
        heads, share, h = self.attend(x, neighbours)
        return attended(heads, share, h, self.dropout if self.training else 0.0) + self.bias

    def attend(self, x: Tensor | Sparse, neighbours: Sparse) -> tuple[Heads, Tensor, Tensor]:
        """The pattern, α on it (H Z,) and W x (H, m, C)."""
        h = side_by_side(x @ self.weight, self.heads)  # (H, m, C)
        to = torch.einsum("hnc,hc->hn", h[:, : neighbours.shape[0]], self.score_to).flatten()
        of = torch.einsum("hmc,hc->hm", h, self.score_of).flatten()
        heads = Heads.of(neighbours, self.heads)
        scores = F.leaky_relu(PairSums.of(heads, to, of), SLOPE)  # (H Z,)
        return heads, Shares.of(heads, scores), h


class GraphAttentionV2(nn.Module):
    """Attention whose ranking may differ from node to node (Brody et al. 2022, eq. 7).

    α_ij = softmax over j of score · LeakyReLU(W_to x_i + W_of x_j). The non-linearity lies between
    the sum and the score, so this one does gather both vectors to each edge.
    """

    def __init__(self, features: int, channels: int, heads: int, dropout: float = 0.0):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.to_weight = nn.Parameter(torch.empty(features, heads * channels))
        self.of_weight = nn.Parameter(torch.empty(features, heads * channels))
        self.score = nn.Parameter(torch.empty(heads, channels))
        self.bias = nn.Parameter(torch.zeros(heads * channels))
        for parameter in (self.to_weight, self.of_weight, self.score):
            nn.init.xavier_uniform_(parameter)

    def forward(self, x: Tensor | Sparse, neighbours: Sparse) -> Tensor:  # (m, F) -> (n, H C)
        to = side_by_side(x @ self.to_weight, self.heads)  # (H, m, C), read for the first n
        to = to[:, : neighbours.shape[0]]
        of = side_by_side(x @ self.of_weight, self.heads)
        heads = Heads.of(neighbours, self.heads)
        both = to.flatten(0, 1).index_select(0, heads.row)  # (H Z, C)
        both = both + of.flatten(0, 1).index_select(0, heads.column)
        both = F.leaky_relu(both, SLOPE).unflatten(0, (self.heads, -1))  # (H, Z, C)
        scores = (both * self.score[:, None]).sum(-1).flatten()  # (H Z,)
        share = Shares.of(heads, scores)
        return attended(heads, share, of, self.dropout if self.training else 0.0) + self.bias


def side_by_side(h: Tensor, heads: int) -> Tensor:  # (m, H C) -> (H, m, C)
    """Each head's vectors together, as its product needs them."""
    return h.unflatten(1, (heads, -1)).transpose(0, 1).contiguous()


def attended(heads: Heads, share: Tensor, h: Tensor, dropout: float) -> Tensor:
    """Σ_j α_ij h_j for each head: (H Z,), (H, m, C) -> (n, H C)."""
    if dropout:
        share = dropped(share, dropout)
    heard = WeightedSums.of(heads, share, h.flatten(0, 1))  # (H n, C)
    return heard.unflatten(0, (heads.count, -1)).transpose(0, 1).flatten(1)


class GAT(Network):
    """Two layers of attention (Veličković et al. 2018, section 3.3): many heads, ELU, then one."""

    depth = 2

    def __init__(
        self,
        features: int,
        channels: int,
        heads: int,
        classes: int,
        feature_dropout: float,
        hidden_dropout: float,
        attention_dropout: float,
    ):
        super().__init__()
        self.first = GraphAttention(features, channels, heads, attention_dropout)
        self.second = GraphAttention(heads * channels, classes, 1, attention_dropout)
        self.feature_dropout = feature_dropout
        self.hidden_dropout = hidden_dropout

    def step(
        self, layer: int, x: Tensor | Sparse, hop: Sparse, edge_x: Tensor | None = None
    ) -> Tensor:
        if layer == 0:
            return F.elu(self.first(dropout(x, self.feature_dropout, self.training), hop))
        return self.second(dropout(x, self.hidden_dropout, self.training), hop)
