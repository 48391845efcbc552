"""The graph convolutional network.

Shapes: N nodes, F features, H hidden, K classes.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from hour9.graphs.message_passing import GraphConvolution, Sparse


class GCN(nn.Module):
    """Two graph convolutions (Kipf & Welling 2017, eq. 9, before its softmax): Â ReLU(Â X W₀) W₁.

    A node so hears of the nodes up to two edges away, labelled or not.
    """

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

    def forward(self, x: Sparse, adjacency: Sparse) -> Tensor:  # (N, F), (N, N) -> (N, K)
        h = self.first(x.dropout(self.feature_dropout, self.training), adjacency).relu()  # (N, H)
        return self.second(F.dropout(h, self.hidden_dropout, self.training), adjacency)
