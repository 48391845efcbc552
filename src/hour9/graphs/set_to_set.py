"""Message passing over whole graphs, read out by attention over the set of nodes.

Shapes: G graphs, N nodes, F features in, H hidden, D edge features, K outputs.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hour9.graphs.batches import Graphs
from hour9.graphs.mpnn import EdgeConvolution


class SetToSet(nn.Module):
    """What a graph is, asked of its nodes in turns (Vinyals et al. 2016, eq. 3 to 7).

    At each turn an LSTM asks q, each node answers in the measure that it fits, a = softmax(x · q),
    and the next question knows r = Σ_i a_i x_i. The order of the nodes plays no part.
    """

    def __init__(self, hidden: int, turns: int):
        super().__init__()
        self.turns = turns
        self.ask = nn.LSTMCell(2 * hidden, hidden)

    def forward(self, x: Tensor, graphs: Graphs) -> tuple[Tensor, Tensor]:
        """(N, H) -> (G, 2 H), the last question and its answer; (N,), the last attention."""
        sums = graphs.members  # (G, N)
        graph = sums.transpose.column  # (N,), the graph that each node is in
        asked = x.new_zeros(len(graphs), 2 * x.shape[1])
        state = None
        for _ in range(self.turns):
            state = self.ask(asked, state)
            question = state[0]  # (G, H)
            fit = (x * question.index_select(0, graph)).sum(1)  # (N,)
            attention = shares(fit, graphs)
            asked = torch.cat([question, sums @ (attention[:, None] * x)], dim=1)
        return asked, attention


def shares(fit: Tensor, graphs: Graphs) -> Tensor:  # (N,) -> (N,)
    """Softmax over the nodes of each graph."""
    sums = graphs.members
    graph = sums.transpose.column
    best = torch.segment_reduce(fit.detach(), "max", offsets=graphs.start.long(), unsafe=True)
    weight = (fit - best.index_select(0, graph)).exp()
    return weight / (sums @ weight[:, None]).squeeze(1).index_select(0, graph)


class SetToSetMPNN(nn.Module):
    """The network of Gilmer et al. (2017, section 5): an edge's features decide what is heard.

    Every round uses the same edge network, and a GRU decides what a node keeps of what it knew. The
    set-to-set read-out is a mean by its weights, the same for two molecules as for one of them, but
    energies and solubilities grow with the atoms: so the sum of the nodes is read out beside it.
    """

    def __init__(
        self,
        features: int,
        edge_features: int,
        outputs: int,
        hidden: int,
        units: int,
        rounds: int,
        turns: int,
        dropout: float,
    ):
        super().__init__()
        self.rounds, self.dropout = rounds, dropout
        self.embed = nn.Linear(features, hidden)
        self.hear = EdgeConvolution(hidden, hidden, edge_features, units)
        self.keep = nn.GRUCell(hidden, hidden)
        self.read = SetToSet(hidden, turns)
        self.hidden = nn.Linear(3 * hidden, hidden)
        self.output = nn.Linear(hidden, outputs)

    def forward(self, graphs: Graphs) -> Tensor:  # (N, F) -> (G, K)
        x = self.nodes(graphs)
        known = torch.cat([self.read(x, graphs)[0], graphs.members @ x], dim=1)  # (G, 3 H)
        h = self.hidden(F.dropout(known, self.dropout, self.training)).relu()
        return self.output(F.dropout(h, self.dropout, self.training))

    def nodes(self, graphs: Graphs) -> Tensor:  # (N, F) -> (N, H)
        """What each node knows after all rounds."""
        h = self.embed(graphs.x).relu()
        for _ in range(self.rounds):
            heard = self.hear(h, graphs.numbered, graphs.edge_x).relu()
            h = self.keep(heard, h)
        return h

    def attention(self, graphs: Graphs) -> Tensor:  # (N, F) -> (N,)
        """How much of each node the last answer holds; they sum to 1 in each graph."""
        return self.read(self.nodes(graphs), graphs)[1]
