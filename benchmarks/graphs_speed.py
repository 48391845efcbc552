"""How fast graph networks train, beside PyG's: one thread, every pair in turns within one run.

    python benchmarks/graphs_speed.py --root ../shared/data/planetoid --name Cora
    python benchmarks/graphs_speed.py --only gat  # or gcn, aggregation: a part of it
    python benchmarks/graphs_speed.py --short     # digits, seconds: nothing is recorded

An epoch is one update of the optimizer on the labelled nodes, as in PyG's examples `gcn.py` and
`gat.py`, with their models and settings on both sides. Ours is the pipeline's own step: features
stay sparse, and it sees the receptive field of the labelled nodes alone. What the two reach on the
test nodes stands beside it, over seeds, at the epoch that the same rule picks on the validation
nodes. The aggregation alone is on dense features, where only the kernel
counts. Times are CPU milliseconds, medians over the rounds.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # read by torch and its libraries when they are loaded
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import contextlib
import io
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hour9.engine.checkpoint import Checkpoint
from hour9.engine.fit import Training
from hour9.engine.run import Run
from hour9.graphs.gcn import normalised_adjacency
from hour9.graphs.lesson import Lesson
from hour9.graphs.nodes import TASK, build, labelled, mark, surroundings
from hour9.graphs.receptive_field import Network
from hour9.graphs.settings import Gat, Gcn, OnNodes
from hour9.graphs.tables import Graph
from hour9.task import Source, Tables, without_test
from record import Pair, compare, measure, record

EXAMPLES: dict[str, OnNodes] = {  # PyG's own settings
    "gcn": Gcn(
        architecture="gcn",
        hidden=16,
        feature_dropout=0.5,
        hidden_dropout=0.5,
        learning_rate=0.01,
        **(
            shared := {
                "task": "nodes",
                "topic": "graphs",
                "parent": "data/nodes",
                "device": "cpu",
                "precision": "fp32",
                "epochs": 200,
                "patience": 200,
                "decay": False,
                "clip": 1e9,
            }
        ),
    ),
    "gat": Gat(
        architecture="gat",
        hidden=8,
        heads=8,
        feature_dropout=0.6,
        hidden_dropout=0.6,
        attention_dropout=0.6,
        learning_rate=0.005,
        **shared,
    ),
}
L2 = 5e-4
WIDTHS = (16, 64, 256)
IN_A_ROW = 5
SPLITS = ("train", "validation", "test")


def main() -> None:
    options = read_options()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message=".*torch.jit.script")  # PyG's own business
    section = {"kind": "embedded", "root": "src/hour9/graphs/digits.py", "size": 1797}
    if not options.short:
        section = {"kind": "planetoid", "root": options.root, "name": options.name}
    tables = TASK.ingest(Source(**section))
    name = section.get("name", "digits")
    rows, seeds = [], range(options.first, options.first + options.seeds)
    for kind, settings in EXAMPLES.items():
        if options.only not in ("", kind):
            continue
        pair = Pair(
            f"{kind} training epoch {name}",
            our_training(settings, tables)[1],
            Example(settings, tables, 0).epoch,
            f"PyG {kind}.py",
            IN_A_ROW,
        )
        rows.append(measure(pair, options.rounds))
        if seeds:
            rows.append(accuracy(kind, name, settings, tables, seeds))
    if options.only in ("", "aggregation"):
        rows += [measure(pair, options.rounds) for pair in aggregations(tables, name)]
    if not options.short:
        record(rows)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--root", default="../shared/data/planetoid", help="the Planetoid sets")
    parser.add_argument("--name", default="Cora")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=10, help="trainings to compare accuracy over")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--only", default="", choices=["", *EXAMPLES, "aggregation"])
    parser.add_argument("--short", action="store_true", help="digits, few rounds, no record")
    options = parser.parse_args()
    if options.short:
        options.rounds, options.seeds = 2, 0
    return options


def run_of(settings: OnNodes, tables: Tables, folder: Path) -> Run:
    checkpoint = Checkpoint(folder / "checkpoint")
    return Run(settings, without_test(tables), folder, folder / "model", checkpoint)


def our_training(settings: OnNodes, tables: Tables) -> tuple[Network, Callable[[], None]]:
    """A model and its epoch: the pipeline's loop without its validation, as the peer's is."""
    graph, cases = Graph.of(tables), tables["cases"]
    around = surroundings(graph, settings.architecture)
    model = build(
        {
            "settings": settings.model_dump(),
            "features": around.features.width,
            "classes": int(cases["target"].max()) + 1,
        }
    )
    lesson = Lesson(settings, around, model, labelled(graph, cases, "train"))
    training = Training(run_of(settings, tables, Path(tempfile.gettempdir())), model, 1, None)

    def epoch() -> None:
        training.place.update = 0
        training.rest_of_epoch([lesson.batches(0)], lesson.loss)

    return model, epoch


class Example:
    """PyG's example: its layers, dense features, Adam, all nodes in every step."""

    def __init__(self, settings: OnNodes, tables: Tables, seed: int):
        torch.manual_seed(seed)
        graph, cases = Graph.of(tables), tables["cases"]
        self.x = graph.features().matrix.dense()  # (N, F)
        self.edges = torch.cat([graph.edges, graph.edges.flip(0)], dim=1)  # (2, 2E)
        self.known = {split: labelled(graph, cases, split) for split in SPLITS}
        classes = int(cases["target"].max()) + 1
        network, dropout = NETWORKS[settings.architecture], settings.hidden_dropout
        self.model: nn.Module = network(self.x.shape[1], classes, dropout)
        groups = [{"params": self.model.first.parameters(), "weight_decay": L2}]
        rest = 0.0 if settings.architecture == "gcn" else L2  # as the two examples have it
        groups.append({"params": self.model.second.parameters(), "weight_decay": rest})
        self.optimizer = torch.optim.Adam(groups, lr=settings.learning_rate)

    def epoch(self) -> None:
        self.model.train()
        self.optimizer.zero_grad()
        position, target = self.known["train"].values()
        F.cross_entropy(self.model(self.x, self.edges)[position], target).backward()
        self.optimizer.step()

    @torch.no_grad()
    def shares(self) -> Tensor:  # (N, K)
        return self.model.eval()(self.x, self.edges).softmax(dim=1)

    def test_accuracy(self, epochs: int) -> float:
        """On the test nodes, at the epoch that our own rule picks on the validation nodes."""
        best, at_best = -np.inf, self.shares()
        for _ in range(epochs):
            self.epoch()
            shares = self.shares()
            if (now := mark(shares, self.known["validation"])) > best:
                best, at_best = now, shares
        position, target = self.known["test"].values()
        return (at_best[position].argmax(dim=1) == target).float().mean().item()


class Gcn16(nn.Module):
    """The model of PyG's gcn.py."""

    def __init__(self, features: int, classes: int, dropout: float):
        super().__init__()
        from torch_geometric.nn import GCNConv

        self.dropout = dropout
        self.first = GCNConv(features, 16, cached=True)
        self.second = GCNConv(16, classes, cached=True)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        h = self.first(F.dropout(x, self.dropout, self.training), edges).relu()
        return self.second(F.dropout(h, self.dropout, self.training), edges)


class Gat8x8(nn.Module):
    """The model of PyG's gat.py."""

    def __init__(self, features: int, classes: int, dropout: float):
        super().__init__()
        from torch_geometric.nn import GATConv

        self.dropout = dropout
        self.first = GATConv(features, 8, heads=8, dropout=dropout)
        self.second = GATConv(64, classes, heads=1, concat=False, dropout=dropout)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        h = F.elu(self.first(F.dropout(x, self.dropout, self.training), edges))
        return self.second(F.dropout(h, self.dropout, self.training), edges)


NETWORKS = {"gcn": Gcn16, "gat": Gat8x8}


def accuracy(
    kind: str, name: str, settings: OnNodes, tables: Tables, seeds: range
) -> dict[str, object]:
    """What both reach on the test nodes in as many epochs."""
    test = tables["cases"]["split"] == "test"
    ours, theirs = [], []
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            run = run_of(settings.model_copy(update={"seed": seed}), tables, Path(folder))
            TASK.train(run)
            ours.append(100 * TASK.score(run.folder, tables)["score"][test].mean())
        theirs.append(100 * Example(settings, tables, seed).test_accuracy(settings.epochs))
    return compare(f"{kind} accuracy {name}", ours, theirs, f"PyG {kind}.py", "% of test nodes")


def aggregations(tables: Tables, name: str) -> list[Pair]:
    """Â X of dense X: one sparse product, against PyG's gather and scatter."""
    from torch_geometric.nn import GCNConv
    from torch_geometric.nn.conv.gcn_conv import gcn_norm

    graph = Graph.of(tables)
    n = len(graph.nodes)
    adjacency = normalised_adjacency(graph.edges, n)
    both = torch.cat([graph.edges, graph.edges.flip(0)], dim=1)
    edges, weight = gcn_norm(both, num_nodes=n)
    pairs = []
    for width in WIDTHS:
        x, layer = torch.randn(n, width), GCNConv(width, width)

        def ours(x: Tensor = x) -> Tensor:
            return adjacency @ x

        def theirs(x: Tensor = x, layer: GCNConv = layer) -> Tensor:
            return layer.propagate(edges, x=x, edge_weight=weight)

        np.testing.assert_allclose(ours(), theirs(), atol=1e-5)
        label = f"aggregation alone {name} dense {width} wide"
        pairs.append(Pair(label, ours, theirs, "PyG gather and scatter", IN_A_ROW))
        pairs.append(
            Pair(f"{label} with gradient", *map(slope, (ours, theirs), (x, x)), "PyG", IN_A_ROW)
        )
    return pairs


def slope(call: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], None]:
    """Forward, and back to the input."""
    return lambda: call(x.detach().requires_grad_()).sum().backward()


if __name__ == "__main__":
    main()
