"""Which class a node of a graph belongs to, when a few nodes' classes are known.

The whole graph is there in training, its test nodes too, but not their labels: those stand in
`cases` alone, and a training does not see its test rows.

Shapes: N nodes, F features, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hour9.engine.device import pick_device
from hour9.engine.fit import Batch, fit
from hour9.engine.randomness import seed_all
from hour9.engine.run import Run
from hour9.engine.weights import load_model, save_model
from hour9.graphs.digits import read_digits
from hour9.graphs.gat import GAT
from hour9.graphs.gcn import GCN, normalised_adjacency
from hour9.graphs.settings import Gat, Gcn
from hour9.graphs.sparse import Sparse
from hour9.graphs.tables import Graph, find
from hour9.sources.fingerprints import of_arrays
from hour9.sources.planetoid import download, read_planetoid
from hour9.task import Source, Tables, Task, UnknownName

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation

READERS: dict[str, Callable[[Source], Tables]] = {
    "embedded": read_digits,
    "planetoid": lambda source: read_planetoid(Path(source.root), source.name),
    "hub": lambda source: read_planetoid(download(source.name), source.name),
}
DEGREES = ("low", "middle", "high")
MOST_CLASSES = 10
LOST_EDGES = 0.2  # share of edges that a perturbed graph lacks
LOOSENESS = (1.0, 10.0, 100.0, 1000.0)  # inverse penalties that the baseline may choose from


def ingest(source: Source) -> Tables:
    """The graph's tables; the cases are sliced by how connected their node is."""
    if source.kind not in READERS:
        raise UnknownName(f"nodes reads no source '{source.kind}'; it reads {', '.join(READERS)}")
    tables = READERS[source.kind](source)
    nodes, edges, cases = tables["nodes"], tables["edges"], tables["cases"]
    ends = pd.concat([edges["source"], edges["target"]]).value_counts()
    degree = nodes["node"].map(ends).fillna(0).astype("int64")
    at_most = degree.quantile([1 / 3, 2 / 3]).to_numpy()  # a node on the line goes below it
    third = pd.Series(np.array(DEGREES, dtype=object)[np.searchsorted(at_most, degree)])
    return {
        **tables,
        "nodes": nodes.assign(degree=degree),
        "cases": cases.assign(**{"group.degree": cases["node"].map(third.set_axis(nodes["node"]))}),
    }


def contract(_: Tables) -> dict[str, list[Expectation]]:
    """Every edge joins two nodes of the graph and stands once; no feature or label is missing."""
    from great_expectations import expectations as expect

    def columns(*names: str) -> list[Expectation]:
        return [
            expect.ExpectTableRowCountToBeBetween(min_value=1),
            expect.ExpectTableColumnsToMatchSet(column_set=list(names), exact_match=True),
            *[expect.ExpectColumnValuesToNotBeNull(column=name) for name in names],
        ]

    def a_node(column: str) -> Expectation:
        return expect.ExpectColumnValuesToBeInSet(
            column=column, value_set={"$PARAMETER": "nodes_node"}
        )

    return {
        "nodes": [
            *columns("node", "degree"),
            expect.ExpectColumnValuesToBeUnique(column="node"),
            expect.ExpectColumnValuesToBeBetween(column="node", min_value=0),
            expect.ExpectColumnValuesToBeBetween(column="degree", min_value=0),
        ],
        "features": [
            *columns("node", "feature", "value"),
            a_node("node"),
            expect.ExpectColumnValuesToBeBetween(column="feature", min_value=0),
            expect.ExpectColumnValuesToBeBetween(
                column="value", min_value=0, strict_min=True, max_value=1e6
            ),
            expect.ExpectCompoundColumnsToBeUnique(column_list=["node", "feature"]),
        ],
        "edges": [
            *columns("source", "target", "distance"),
            a_node("source"),
            a_node("target"),
            expect.ExpectColumnPairValuesAToBeGreaterThanB(column_A="target", column_B="source"),
            expect.ExpectCompoundColumnsToBeUnique(column_list=["source", "target"]),
            expect.ExpectColumnValuesToBeBetween(column="distance", min_value=0, max_value=1e6),
        ],
        "cases": [
            *columns("case", "node", "split", "target", "group.degree"),
            a_node("node"),
            expect.ExpectColumnValuesToBeUnique(column="node"),
            expect.ExpectColumnValuesToBeBetween(
                column="target", min_value=0, max_value=MOST_CLASSES - 1
            ),
            expect.ExpectColumnValuesToBeInSet(column="group.degree", value_set=list(DEGREES)),
        ],
    }


def train(run: Run) -> None:
    """Full-batch training; the epoch is chosen on the validation nodes."""
    settings: Gcn | Gat = run.settings
    seed_all(settings.seed)
    graph, cases = Graph.of(run.tables), run.tables["cases"]
    features, adjacency = matrices(graph, pick_device(settings.device))
    config = {
        "settings": settings.model_dump(),
        "features": features.shape[1],
        "classes": int(cases["target"].max()) + 1,
    }
    model = build(config)
    known = {split: labelled(graph, cases, split) for split in ("train", "validation")}

    def loss(wrapped: nn.Module, batch: Batch) -> Tensor:
        logits = wrapped(features, adjacency)[batch["position"]]  # (labelled, K)
        penalty = settings.l2 / 2 * model.first.weight.square().sum()
        return F.cross_entropy(logits, batch["target"]) + penalty

    def validate(model: nn.Module) -> float:
        with torch.no_grad():
            guess = model(features, adjacency).argmax(dim=1).cpu()  # (N,)
        position, target = known["validation"].values()
        return (guess[position] == target).float().mean().item()

    fit(run, model, lambda epoch: [known["train"]], loss, validate)
    save_model(run.folder, model.state_dict(), config)
    graph.save(run.folder)


def labelled(graph: Graph, cases: pd.DataFrame, split: str) -> dict[str, Tensor]:
    """Where the nodes of a split stand in the graph, and their labels."""
    rows = cases[cases["split"] == split]
    return {
        "position": torch.from_numpy(find(graph.nodes, rows["node"])),
        "target": torch.from_numpy(rows["target"].to_numpy(np.int64, copy=True)),
    }


def matrices(
    graph: Graph, device: torch.device, width: int | None = None
) -> tuple[Sparse, Sparse]:  # (N, F), (N, N)
    """Features and Â of a graph, on the device; attention reads of Â whom a node hears."""
    adjacency = normalised_adjacency(graph.edges, len(graph.nodes))
    return graph.features(width).to(device), adjacency.to(device)


def build(config: dict[str, Any]) -> GCN | GAT:
    """The model that a config describes, not yet trained."""
    settings, features, classes = config["settings"], config["features"], config["classes"]
    dropout = settings["feature_dropout"], settings["hidden_dropout"]
    if settings["architecture"] == "gat":
        width = settings["hidden"], settings["heads"]
        return GAT(features, *width, classes, *dropout, settings["attention_dropout"])
    return GCN(features, settings["hidden"], classes, *dropout)


def predict(folder: Path, graph: Graph) -> Tensor:  # (N, K)
    """The probability of each class for each node."""
    weights, config = load_model(folder)
    model = build(config)
    model.load_state_dict(weights)
    device = pick_device(config["settings"]["device"])
    features, adjacency = matrices(graph, device, config["features"])
    with torch.no_grad():
        return model.to(device).eval()(features, adjacency).softmax(dim=1).cpu()


def score(folder: Path, tables: Tables) -> pd.DataFrame:
    """1 where the likeliest class is the label, else 0."""
    graph, cases = Graph.of(tables), tables["cases"]
    confidence, guess = predict(folder, graph)[find(graph.nodes, cases["node"])].max(dim=1)
    return pd.DataFrame(
        {
            "case": cases["case"],
            "score": (guess.numpy() == cases["target"].to_numpy()).astype(float),
            "confidence": confidence.double().numpy(),
        }
    )


def baseline(tables: Tables) -> pd.DataFrame:
    """Logistic regression on each node's own features, no edges; validation picks its penalty."""
    from sklearn.linear_model import LogisticRegression

    graph, cases = Graph.of(tables), tables["cases"]
    rows = find(graph.nodes, cases["node"])
    x = graph.features().matrix.to_dense().numpy()[rows]  # shares, as the network sees them
    target, split = cases["target"].to_numpy(), cases["split"].to_numpy()
    seen, chosen_on = split == "train", split == "validation"
    fitted = [
        LogisticRegression(C=loose, max_iter=1000).fit(x[seen], target[seen]) for loose in LOOSENESS
    ]
    best = max(fitted, key=lambda model: model.score(x[chosen_on], target[chosen_on]))
    return pd.DataFrame({"case": cases["case"], "score": (best.predict(x) == target).astype(float)})


def fingerprint(tables: Tables) -> pd.DataFrame:
    """Nodes whose own features are the same; whom they are joined to does not matter."""
    features = tables["features"].sort_values(["node", "feature"])
    node = features["node"].to_numpy()
    first = np.flatnonzero(np.diff(node, prepend=-1))  # rows where the next node begins
    pairs = np.split(features[["feature", "value"]].to_numpy(float), first[1:])
    prints = of_arrays(node[first], pairs)
    return prints.assign(case=prints["case"].map(tables["cases"].set_index("node")["case"]))


def perturb(tables: Tables, seed: int) -> Tables:
    """The graph with a share of its edges gone."""
    kept = tables["edges"].sample(frac=1 - LOST_EDGES, random_state=seed).sort_index()
    return {**tables, "edges": kept.reset_index(drop=True)}


def answer(folder: Path) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Answers for the nodes of the graph that the model was trained on; it lies in its folder."""
    graph = Graph.load(folder)
    confidence, label = predict(folder, graph).max(dim=1)

    def reply(requests: pd.DataFrame) -> pd.DataFrame:
        at = find(graph.nodes, requests["node"])
        return pd.DataFrame(
            {"label": label.numpy()[at], "confidence": confidence.double().numpy()[at]}
        )

    return reply


def example(tables: Tables) -> pd.DataFrame:
    """Three nodes to ask about."""
    return tables["nodes"][["node"]].head(3)


TASK = Task(
    name="nodes",
    metric="accuracy",
    ingest=ingest,
    contract=contract,
    train=train,
    score=score,
    baseline=baseline,
    answer=answer,
    example=example,
    fingerprint=fingerprint,
    perturb=perturb,
)
