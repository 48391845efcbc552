"""When do edges help? Not among strangers: the more of them, the more often a network errs.

Two networks on the digits' graph, and the baseline that sees no edges, on the test nodes by the
share of a node's neighbours that are of its own class. In that graph few nodes are among strangers,
so half the edges are joined anew at random: that makes nodes of every kind.

What was found: so rewired, no network beats what sees no edges, not even where all of a node's
neighbours are alike, since their neighbours are not; attention loses less than the mean, but among
strangers alone, where the intervals are too wide to tell. On the graph as it is, where most edges
stay within a class, both beat it (the evidence of `nodes`).

Shapes: N nodes.
"""

import contextlib
import io
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hour9.engine.checkpoint import Checkpoint
from hour9.engine.run import Run
from hour9.graphs.nodes import TASK
from hour9.graphs.settings import Gat, Gcn
from hour9.task import Source, Tables, without_test
from study import COLOURS, asked, interval

REWIRED = 0.5
EDGES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
KINDS = {"gcn": Gcn, "gat": Gat}


def main() -> None:
    """Draw accuracy against local homophily."""
    options = asked(__doc__)
    size, seeds, epochs = (300, range(2), 5) if options.short else (1797, range(3), 120)
    rows = []
    for seed in seeds:
        tables = rewired(TASK.ingest(Source(root="digits", size=size, seed=seed)), seed)
        share = homophily(tables)
        bin_ = np.clip(np.digitize(share, EDGES[1:-1]), 0, len(EDGES) - 2)
        test = (tables["cases"]["split"] == "test").to_numpy()
        found = {kind: score(kind, tables, seed, epochs) for kind in KINDS}
        found["no edges"] = TASK.baseline(tables)["score"].to_numpy()
        for way, right in found.items():
            for place in range(len(EDGES) - 1):
                chosen = test & (bin_ == place)
                if chosen.any():
                    rows.append((way, place, right[chosen].mean(), int(chosen.sum())))
    table = pd.DataFrame(rows, columns=["way", "bin", "accuracy", "nodes"])
    points = []
    for (way, place), part in table.groupby(["way", "bin"], sort=False):
        mean, low, high = interval(part["accuracy"].tolist())
        points.append(
            {"way": way, "alike from": EDGES[place], "alike to": EDGES[place + 1]}
            | {"mean": mean, "low": low, "high": high, "nodes": float(part["nodes"].mean())}
        )
    options.save("homophily", draw(points), points)


def rewired(tables: Tables, seed: int) -> Tables:
    """A share of the edges leads from where it did to anywhere."""
    draw, edges = np.random.default_rng([seed, 3]), tables["edges"].copy()
    nodes = tables["nodes"]["node"].to_numpy()
    moved = draw.random(len(edges)) < REWIRED
    ends = edges[["source", "target"]].to_numpy(copy=True)
    ends[moved, 1] = draw.choice(nodes, moved.sum())
    edges[["source", "target"]] = np.sort(ends, axis=1)
    edges = edges[edges["source"] != edges["target"]].drop_duplicates(["source", "target"])
    return {**tables, "edges": edges.reset_index(drop=True)}


def homophily(tables: Tables) -> np.ndarray:  # (cases,)
    """The share of a case's neighbours that are of its class (Pei et al. 2020)."""
    edges, label = tables["edges"], tables["cases"].set_index("node")["target"]
    ends = edges[["source", "target"]].to_numpy()
    both = np.concatenate([ends, ends[:, ::-1]])
    same = label.loc[both[:, 0]].to_numpy() == label.loc[both[:, 1]].to_numpy()
    share = pd.Series(same).groupby(both[:, 0]).mean()
    return tables["cases"]["node"].map(share).fillna(0).to_numpy()


def score(kind: str, tables: Tables, seed: int, epochs: int) -> np.ndarray:
    """Train one network and say of each case whether it is right."""
    settings = KINDS[kind](
        architecture=kind,
        task="nodes",
        topic="graphs",
        parent="data/nodes",
        device="cpu",
        precision="fp32",
        seed=seed,
        epochs=epochs,
        patience=epochs,
        learning_rate=0.02,
        decay=False,
    )
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(io.StringIO()):
        folder = Path(name)
        checkpoint = Checkpoint(folder / "checkpoint")
        TASK.train(Run(settings, without_test(tables), folder, folder / "model", checkpoint))
        return TASK.score(folder / "model", tables)["score"].to_numpy()


def draw(points: list[dict]) -> Figure:
    """A line for each way, over the share of alike neighbours."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axis = figure.subplots()
    for way, colour in zip((*KINDS, "no edges"), COLOURS, strict=False):
        line = [p for p in points if p["way"] == way]
        middle = [(p["alike from"] + p["alike to"]) / 2 for p in line]
        axis.plot(middle, [p["mean"] for p in line], "o-", color=colour, label=way)
        low, high = [p["low"] for p in line], [p["high"] for p in line]
        axis.fill_between(middle, low, high, color=colour, alpha=0.2, linewidth=0)
    axis.set(
        title="Among strangers edges mislead: half of all edges at random",
        xlabel="share of a node's neighbours that are of its class",
        ylabel="accuracy on the test nodes",
        xlim=(0, 1),
        ylim=(0, 1.02),
    )
    axis.set_xticks(EDGES)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, loc="lower right")
    return figure


if __name__ == "__main__":
    main()
