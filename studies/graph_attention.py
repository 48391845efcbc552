"""What does graph attention look at? On the digits' graph at all neighbours almost alike.

A graph attention network with the paper's settings on the digits' graph. For each node of the
test split and each head of the hidden layer: the weight that its neighbours of its own class and
of others get, over what each would get of an even share, and the entropy of its weights over that
of an even share (1: it looks at all alike).

What was found: the entropy is above 0.99 of an even share's in every head, and strangers get at
most some hundredths less: trained on 20 labels a class, attention is close to a mean.

Shapes: N nodes, Z edges with self-loops, H heads.
"""

import contextlib
import io
import tempfile
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from hour9.engine.checkpoint import Checkpoint
from hour9.engine.run import Run
from hour9.graphs.gat import GAT
from hour9.graphs.nodes import TASK, load, surroundings
from hour9.graphs.settings import Gat
from hour9.graphs.tables import Graph
from hour9.task import Source, Tables, without_test
from study import COLOURS, asked, interval

HEADS = 8
MEASURES = {
    "own class": "weight, times an even share",
    "other classes": "weight, times an even share",
    "entropy": "entropy, of an even share's",
}


def main() -> None:
    """Draw the weights and their entropy, head by head."""
    options = asked(__doc__)
    size, seeds, epochs = (300, range(2), 5) if options.short else (1797, range(3), 200)
    tables = TASK.ingest(Source(root="src/hour9/graphs/digits.py", size=size))
    runs = np.stack([measure(tables, seed, epochs) for seed in seeds])  # (seeds, 3, H)
    points = []
    for head in range(HEADS):
        for place, name in enumerate(MEASURES):
            mean, low, high = interval(runs[:, place, head].tolist())
            points.append(
                {"measure": name, "head": head + 1, "mean": mean, "low": low, "high": high}
                | {"seeds": len(runs)}
            )
    options.save("graph_attention", draw(points), points)


def measure(tables: Tables, seed: int, epochs: int) -> np.ndarray:  # (3, H)
    """The three measures by head; the heads of a seed from the most to the least selective."""
    row, column, share = weights(tables, seed, epochs)  # (Z,), (Z,), (H, Z)
    label = tables["nodes"]["node"].map(tables["cases"].set_index("node")["target"]).to_numpy()
    tested = set(tables["cases"].loc[tables["cases"]["split"] == "test", "node"])
    asked_for = np.isin(tables["nodes"]["node"], list(tested))
    degree = np.bincount(row)
    relative = share * degree[row]  # 1: an even share
    own, other = label[row] == label[column], label[row] != label[column]
    proper = (row != column) & asked_for[row]
    entropy = np.stack(
        [np.bincount(row, -s * np.log(s + 1e-30), minlength=len(degree)) for s in share]
    )
    nodes = asked_for & (degree > 1)
    found = np.stack(
        [
            relative[:, proper & own].mean(axis=1),
            relative[:, proper & other].mean(axis=1),
            (entropy[:, nodes] / np.log(degree[nodes])).mean(axis=1),
        ]
    )
    return found[:, found[2].argsort()]


def weights(tables: Tables, seed: int, epochs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Train, and read α of the hidden layer: who hears, who is heard, how much by each head."""
    settings = Gat(
        architecture="gat",
        task="nodes",
        topic="graphs",
        parent="data/nodes",
        device="cpu",
        precision="fp32",
        seed=seed,
        epochs=epochs,
        patience=epochs,
        learning_rate=0.005,
        decay=False,
        heads=HEADS,
        hidden=8,
        feature_dropout=0.6,
        hidden_dropout=0.6,
    )
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(io.StringIO()):
        folder = Path(name)
        checkpoint = Checkpoint(folder / "checkpoint")
        TASK.train(Run(settings, without_test(tables), folder, folder / "model", checkpoint))
        model, _ = load(folder / "model")
    assert isinstance(model, GAT)
    graph = Graph.of(tables)
    seen = surroundings(graph, "gat").field(np.arange(len(graph.nodes)), [0])
    with torch.no_grad():
        heads, share, _ = model.first.attend(seen.x, seen.hops[0])
    z = len(share) // HEADS
    return heads.row[:z].numpy(), heads.column[:z].numpy(), share.view(HEADS, z).numpy()


def draw(points: list[dict]) -> Figure:
    """Weights on the left, entropy on the right, a place for each head."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, axis, colour in zip(MEASURES, (left, left, right), COLOURS, strict=False):
        line = [p for p in points if p["measure"] == name]
        at, mean = [p["head"] for p in line], np.array([p["mean"] for p in line])
        around = [mean - [p["low"] for p in line], [p["high"] for p in line] - mean]
        axis.errorbar(at, mean, around, fmt="o", color=colour, capsize=3, label=name)
    for axis, title in (
        (left, "what a neighbour's word weighs"),
        (right, "how evenly a head looks"),
    ):
        axis.axhline(1, color="grey", linestyle=":", linewidth=1)
        axis.set(title=title, xlabel="heads, the most selective first")
        axis.spines[["top", "right"]].set_visible(False)
    left.set_ylabel(MEASURES["own class"])
    right.set_ylabel(MEASURES["entropy"])
    left.legend(title="neighbours of", frameon=False)
    return figure


if __name__ == "__main__":
    main()
