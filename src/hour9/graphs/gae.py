"""The graph auto-encoder, and the counts of common neighbours that it must beat.

Shapes: N nodes, F features, H hidden, C channels of an embedding, P pairs of nodes.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor, nn

from hour9.graphs.gcn import GCN
from hour9.graphs.receptive_field import ReceptiveField
from hour9.params import Refused

SHORTEST = 1e-3
"""Length under which a vector is not made longer: at 0, where a node that has neither edges nor
features begins, the slope would be without bound."""


class GAE(nn.Module):
    """Nodes as vectors whose products say who is joined (Kipf & Welling 2016): σ(z_iᵀ z_j - b).

    The encoder is the network of `gcn`, its classes the channels of the embedding. All vectors have
    the same learnt length, so that a pair of hubs is not joined for being long (Ahn & Kim 2021).
    """

    def __init__(
        self,
        features: int,
        hidden: int,
        channels: int,
        feature_dropout: float,
        hidden_dropout: float,
    ):
        super().__init__()
        self.encoder = GCN(features, hidden, channels, feature_dropout, hidden_dropout)
        self.length = nn.Parameter(torch.tensor(2.0))
        self.bias = nn.Parameter(torch.tensor(0.0))

    def forward(self, seen: ReceptiveField) -> Tensor:  # (N, C)
        return self.length * F.normalize(self.encoder(seen), eps=SHORTEST)


def products(z: Tensor, pairs: Tensor) -> Tensor:  # (N, C), (2, P) -> (P,)
    """z_iᵀ z_j for each pair."""
    one, other = pairs
    return (z.index_select(0, one) * z.index_select(0, other)).sum(1)


def unjoined(
    edges: NDArray[np.int64], n: int, count: int, draw: np.random.Generator
) -> NDArray[np.int64]:  # (2, E) -> (2, count)
    """Pairs of different nodes that no edge joins, each once, drawn at random.

    Raises Refused where the graph has not so many.
    """
    if count > (free := count_unjoined(edges, n)):
        raise Refused(
            f"the graph is too small or too dense: of {count} pairs without an edge that are "
            f"needed it has {free}"
        )
    joined = number(edges, n)
    found = np.empty(0, np.int64)
    while len(found) < count:
        pairs = draw.integers(n, size=(2, 2 * count))
        fresh = number(pairs[:, pairs[0] != pairs[1]], n)
        fresh = fresh[~np.isin(fresh, joined)]
        _, first = np.unique(both := np.concatenate([found, fresh]), return_index=True)
        found = both[np.sort(first)]
    return np.stack(np.divmod(found[:count], n))


def count_unjoined(edges: NDArray[np.int64], n: int) -> int:  # (2, E)
    """Of pairs of different nodes."""
    apart = edges[:, edges[0] != edges[1]]
    return n * (n - 1) // 2 - len(np.unique(number(apart, n)))


def number(pairs: NDArray[np.int64], n: int) -> NDArray[np.int64]:  # (2, P) -> (P,)
    """One number for a pair, whichever of the two comes first."""
    return pairs.min(axis=0) * n + pairs.max(axis=0)


def common_neighbours(
    edges: NDArray[np.int64], n: int, pairs: NDArray[np.int64]
) -> NDArray[np.float64]:  # (2, E), (2, P) -> (P,)
    """How many nodes are neighbours of both."""
    return shared(edges, n, pairs, np.ones(n))


def adamic_adar(
    edges: NDArray[np.int64], n: int, pairs: NDArray[np.int64]
) -> NDArray[np.float64]:  # (2, E), (2, P) -> (P,)
    """Σ 1 / log d_u over the common neighbours u (Adamic & Adar 2003): a hub's word counts little.

    A common neighbour has at least two neighbours, so that its logarithm is above 0.
    """
    degree = np.bincount(edges.ravel(), minlength=n)
    return shared(edges, n, pairs, 1 / np.log(np.maximum(degree, 2)))


def shared(
    edges: NDArray[np.int64], n: int, pairs: NDArray[np.int64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The sum of the common neighbours' weights, pair by pair."""
    both = np.concatenate([edges, edges[::-1]], axis=1)
    adjacency = csr_array((np.ones(both.shape[1]), tuple(both)), shape=(n, n))
    common = adjacency[pairs[0]].multiply(adjacency[pairs[1]])  # (P, N)
    return np.asarray(common @ weight)


def best_threshold(scores: NDArray[np.float64], target: NDArray[np.int64]) -> float:
    """Between two scores, where most cases are told apart rightly; above it stands for 1."""
    order = np.argsort(scores, kind="stable")
    ranked, is_one = scores[order], target[order] == 1
    right = np.concatenate([[is_one.sum()], is_one.sum() - is_one.cumsum() + (~is_one).cumsum()])
    cuts = np.concatenate([[ranked[0] - 1], (ranked[1:] + ranked[:-1]) / 2, [ranked[-1] + 1]])
    possible = np.concatenate([[True], ranked[1:] > ranked[:-1], [True]])  # not between equals
    return float(cuts[np.where(possible, right, -1).argmax()])
