"""Why are graph networks so shallow? Because deep ones do not train, unless a residual helps.

A stack of graph convolutions on the digits' graph, a depth and a seed at a time: the accuracy on
the test nodes, and how far apart the last hidden vectors of two nodes still are (the mean cosine
distance over random pairs). Plain; with a residual connection past each layer (He et al. 2016); and
with a share of the edges dropped at each step (DropEdge: Rong et al. 2020).

What was found: past four layers the accuracy falls and depends on the seed; a residual keeps it,
DropEdge does not. The vectors of plain and of residual stacks are as far apart as before: there it
is training that fails, not alike vectors that make the classes run together. Of three stacks of 16
with DropEdge, one did end with vectors that are all alike.

Shapes: N nodes, H hidden.
"""

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn

from hour9.graphs.gcn import GraphConvolution, normalised_adjacency
from hour9.graphs.nodes import TASK, labelled
from hour9.graphs.sparse import Sparse
from hour9.graphs.tables import Graph
from hour9.task import Source
from study import COLOURS, asked, interval

DEPTHS = (1, 2, 4, 8, 16)
WAYS = {"plain": (False, 0.0), "residual": (True, 0.0), "DropEdge": (False, 0.5)}
HIDDEN, EPOCHS, PAIRS = 32, 100, 20_000


class Stack(nn.Module):
    """Graph convolutions between two linear maps."""

    def __init__(self, features: int, classes: int, depth: int, residual: bool):
        super().__init__()
        self.first = nn.Parameter(torch.empty(features, HIDDEN))
        nn.init.xavier_uniform_(self.first)
        self.layers = nn.ModuleList(GraphConvolution(HIDDEN, HIDDEN) for _ in range(depth))
        self.last = nn.Linear(HIDDEN, classes)
        self.residual = residual

    def forward(self, x: Sparse, adjacency: Sparse) -> Tensor:  # (N, F), (N, N) -> (N, H)
        h = (x @ self.first).relu()
        for layer in self.layers:
            h = layer(h, adjacency).relu() + (h if self.residual else 0)
        return h


def main() -> None:
    """Draw accuracy and distance against depth."""
    options = asked(__doc__)
    size, seeds, epochs = (300, range(2), 10) if options.short else (1797, range(3), EPOCHS)
    tables = TASK.ingest(Source(root="src/hour9/graphs/digits.py", size=size))
    graph = Graph.of(tables)
    known = {split: labelled(graph, tables["cases"], split) for split in ("train", "test")}
    points = []
    for depth in DEPTHS[:2] if options.short else DEPTHS:
        for way, (residual, dropped) in WAYS.items():
            runs = [measure(graph, known, depth, residual, dropped, seed, epochs) for seed in seeds]
            for name, values in zip(("accuracy", "distance"), np.transpose(runs), strict=True):
                mean, low, high = interval(values)
                points.append(
                    {"measure": name, "way": way, "depth": depth}
                    | {"mean": mean, "low": low, "high": high, "seeds": len(values)}
                )
    options.save("over_smoothing", draw(points), points)


def measure(
    graph: Graph, known: dict, depth: int, residual: bool, dropped: float, seed: int, epochs: int
) -> tuple[float, float]:
    """Test accuracy and mean distance after the last epoch: nothing is chosen."""
    torch.manual_seed(seed)
    x, n = graph.features(), len(graph.nodes)
    whole = normalised_adjacency(graph.edges, n)
    model = Stack(x.shape[1], 10, depth, residual)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    position, target = known["train"].values()
    for _ in range(epochs):
        kept = torch.rand(graph.edges.shape[1]) >= dropped
        adjacency = normalised_adjacency(graph.edges[:, kept], n) if dropped else whole
        logits = model.last(model(x, adjacency)[position])
        optimizer.zero_grad()
        F.cross_entropy(logits, target).backward()
        optimizer.step()
    with torch.no_grad():
        h = model(x, whole)
        position, target = known["test"].values()
        right = model.last(h)[position].argmax(1) == target
    return right.float().mean().item(), distance(h, seed)


def distance(h: Tensor, seed: int) -> float:
    """Mean of 1 - cosine over random pairs of nodes; a vector of zeros is at no distance."""
    one, other = np.random.default_rng(seed).integers(len(h), size=(2, PAIRS))
    cosine = F.cosine_similarity(h[one], h[other])
    nothing = (h[one].norm(dim=1) == 0) | (h[other].norm(dim=1) == 0)
    return (1 - cosine.masked_fill(nothing, 1.0)).mean().item()


def draw(points: list[dict]) -> Figure:
    """One panel a measure, one line a way."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    titles = {
        "accuracy": "accuracy on the test nodes",
        "distance": "distance between two nodes (1 - cosine)",
    }
    panels = figure.subplots(1, 2)
    for axis, (name, title) in zip(panels, titles.items(), strict=True):
        for way, colour in zip(WAYS, COLOURS, strict=False):
            line = [p for p in points if p["measure"] == name and p["way"] == way]
            depths = [p["depth"] for p in line]
            axis.plot(depths, [p["mean"] for p in line], "o-", color=colour, label=way)
            low, high = [p["low"] for p in line], [p["high"] for p in line]
            axis.fill_between(depths, low, high, color=colour, alpha=0.2, linewidth=0)
        axis.set(title=title, xlabel="graph convolutions, one upon the other", xscale="log")
        axis.set_ylim(0, 1.02)
        axis.set_xticks(depths, [str(d) for d in depths])
        axis.minorticks_off()
        axis.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False, loc="lower left")
    return figure


if __name__ == "__main__":
    main()
