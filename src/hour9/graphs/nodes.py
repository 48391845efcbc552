"""Which class a node of a graph belongs to, when a few nodes' classes are known.

The whole graph is there in training, its test nodes too, but not their labels: those stand in
`cases` alone, and a training does not see its test rows.

Shapes: N nodes, F features, K classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hour9.engine.device import answering_device
from hour9.engine.fit import Batch, fit
from hour9.engine.randomness import seed_all
from hour9.engine.run import Run
from hour9.engine.settings import settings_class
from hour9.engine.weights import load_model, save_model
from hour9.graphs import contract as rules
from hour9.graphs.digits import read_digits
from hour9.graphs.gat import GAT
from hour9.graphs.gcn import GCN, normalised_adjacency, smoothed
from hour9.graphs.lesson import LARGE, Lesson
from hour9.graphs.mpnn import MPNN, numbered
from hour9.graphs.pictures import draw_embeddings
from hour9.graphs.receptive_field import (
    Network,
    Rows,
    Surroundings,
    layerwise,
)
from hour9.graphs.settings import OnNodes
from hour9.graphs.tables import Graph, find, lose_edges
from hour9.sources.fingerprints import of_arrays
from hour9.sources.graph_files import read_graph_files
from hour9.sources.planetoid import download, read_planetoid
from hour9.task import Answer, Source, Tables, Task, UnknownName

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation

READERS: dict[str, Callable[[Source], Tables]] = {
    "embedded": read_digits,
    "path": lambda source: read_graph_files(Path(source.root), source.seed),
    "planetoid": lambda source: read_planetoid(Path(source.root), source.name),
    "hub": lambda source: read_planetoid(download(source.name), source.name),
}
DEGREES = ("low", "middle", "high")
ALIKE = ("unknown", "some unlike", "all alike")
MOST_CLASSES = 100
LOST_EDGES = 0.2  # share of edges that a perturbed graph lacks
LOOSENESS = (0.01, 0.1, 1.0, 10.0)  # inverse penalties of the baseline's regressions
PENALTIES = (0.01, 0.1, 1.0, 10.0)  # of its MLPs
SURPRISE = 0.1  # its weight beside accuracy when the epoch is chosen
LEAST = 1e-4  # share of a class that a picture tells from none
NETWORKS: dict[str, type[Network]] = {"gcn": GCN, "gat": GAT, "mpnn": MPNN}


def ingest(source: Source) -> Tables:
    """The graph's tables; the cases are sliced by how connected their node is, and to whom."""
    if source.kind not in READERS:
        raise UnknownName(f"nodes reads no source '{source.kind}'; it reads {', '.join(READERS)}")
    tables = READERS[source.kind](source)
    nodes, edges, cases = tables["nodes"], tables["edges"], tables["cases"]
    ends = pd.concat([edges["source"], edges["target"]]).value_counts()
    degree = nodes["node"].map(ends).fillna(0).astype("int64")
    slices = {
        "group.degree": cases["node"].map(thirds(degree).set_axis(nodes["node"])),
        "group.neighbours": alike(edges, cases),
    }
    return {
        "nodes": nodes.assign(degree=degree),
        "features": tables["features"],
        "edges": edges,
        "cases": cases.assign(**slices),
    }


def thirds(degree: pd.Series) -> pd.Series:
    """Which third of the nodes each is in; a node on the line goes below it."""
    at_most = degree.quantile([1 / 3, 2 / 3]).to_numpy()
    return pd.Series(np.array(DEGREES, dtype=object)[np.searchsorted(at_most, degree)])


def alike(edges: pd.DataFrame, cases: pd.DataFrame) -> pd.Series:
    """Whether all of a node's neighbours are of its class: local homophily (Pei et al. 2020).

    Of the neighbours only those count whose class training and validation know: the test labels
    stay out of the rows that a training sees.
    """
    known = cases[cases["split"] != "test"].set_index("node")["target"]
    back = edges.rename(columns={"source": "target", "target": "source"})
    pairs = pd.concat([edges, back], ignore_index=True)[["source", "target"]]
    pairs = pairs[pairs["target"].isin(known.index)]
    own = pairs["source"].map(cases.set_index("node")["target"])
    same = (pairs["target"].map(known) == own).groupby(pairs["source"]).mean()
    share = cases["node"].map(same)  # missing where no neighbour's class is known
    names = np.select([share.isna(), share < 1], ALIKE[:2], ALIKE[2])
    return pd.Series(names.astype(object), index=cases.index)


def contract(tables: Tables) -> dict[str, list[Expectation]]:
    """Every edge joins two nodes of the graph and stands once; no feature or label is missing.

    A node that no edge touches is allowed: a network then hears itself alone.
    """
    cases = tables["cases"]
    taught = sorted(cases.loc[cases["split"] == "train", "target"].dropna().unique().tolist())
    from great_expectations import expectations as expect

    return {
        "nodes": [
            *rules.columns("node", "degree"),
            expect.ExpectColumnValuesToBeUnique(column="node"),
            expect.ExpectColumnValuesToBeBetween(column="node", min_value=0),
            expect.ExpectColumnValuesToBeBetween(column="degree", min_value=0),
        ],
        "features": rules.features(),
        "edges": rules.edges(),
        "cases": [
            *rules.columns("case", "node", "split", "target", "group.degree", "group.neighbours"),
            rules.a_node("node"),
            expect.ExpectColumnValuesToBeUnique(column="node"),
            expect.ExpectColumnValuesToBeInSet(
                column="target", value_set=list(range(MOST_CLASSES))
            ),
            expect.ExpectColumnUniqueValueCountToBeBetween(column="target", min_value=2),
            expect.ExpectColumnValuesToBeInSet(column="target", value_set=taught),
            expect.ExpectColumnValuesToBeInSet(column="group.degree", value_set=list(DEGREES)),
            expect.ExpectColumnValuesToBeInSet(column="group.neighbours", value_set=list(ALIKE)),
        ],
    }


def train(run: Run) -> None:
    """A step sees the receptive field of its labelled nodes: what lies beyond has no gradient.

    The epoch is chosen on the validation nodes.
    """
    settings: OnNodes = run.settings
    seed_all(settings.seed)
    graph, cases = Graph.of(run.tables), run.tables["cases"]
    around = surroundings(graph, settings.architecture)
    config = {
        "settings": settings.model_dump(),
        "features": around.features.width,
        "edge_features": graph.edge_x.shape[1],
        "edge_units": graph.edge_units().tolist(),
        "classes": int(cases["target"].max()) + 1,
    }
    model = build(config)
    lesson = Lesson(settings, around, model, labelled(graph, cases, "train"))
    everyone, checked = Everyone(settings, around, graph), labelled(graph, cases, "validation")

    def validate(model: nn.Module) -> float:
        return mark(everyone.shares(model), checked)

    fit(run, model, lesson.batches, lesson.loss, validate)
    save_model(run.folder, model.state_dict(), config)
    graph.save(run.folder)


class Everyone:
    """A model's answers for all nodes, as they are given."""

    def __init__(self, settings: OnNodes, around: Surroundings, graph: Graph):
        self.around, self.smoothing = around, settings.smoothing
        self.device = answering_device(settings.device)
        n, depth = len(graph.nodes), NETWORKS[settings.architecture].depth
        self.adjacency = normalised_adjacency(graph.edges, n)
        self.whole = around.field(np.arange(n), [0] * depth).to(self.device) if n < LARGE else None

    @torch.no_grad()
    def shares(self, model: nn.Module) -> Tensor:  # (N, K)
        """The share of each class for each node."""
        assert isinstance(model, Network)
        logits = (
            model(self.whole) if self.whole else layerwise(model, self.around, self.device)
        ).cpu()
        return smoothed(logits.softmax(dim=1), self.adjacency, self.smoothing)


def mark(shares: Tensor, known: Batch) -> float:  # (N, K)
    """Accuracy, which moves in steps, less a tenth of the mean surprise, which does not."""
    shares, target = shares[known["position"]], known["target"]
    accuracy = (shares.argmax(dim=1) == target).float().mean()
    least = torch.finfo(shares.dtype).tiny  # a share may be rounded to 0
    return (accuracy - SURPRISE * F.nll_loss(shares.clamp_min(least).log(), target)).item()


def labelled(graph: Graph, cases: pd.DataFrame, split: str) -> Batch:
    """Where the nodes of a split stand in the graph, and their labels."""
    rows = cases[cases["split"] == split]
    return {
        "position": torch.from_numpy(find(graph.nodes, rows["node"])),
        "target": torch.from_numpy(rows["target"].to_numpy(np.int64, copy=True)),
    }


def surroundings(
    graph: Graph,
    architecture: str,
    width: int | None = None,
    units: Tensor | None = None,  # (D,)
) -> Surroundings:
    """The graph as a network of this architecture reads it; attention reads of Â whom it hears.

    What edges carry is told in `units`, those of the graph itself where there are none.
    """
    n, features = len(graph.nodes), Rows.of(graph.features(width))
    if architecture == "mpnn":
        edge_x = graph.edge_x / (graph.edge_units() if units is None else units)
        return Surroundings(features, Rows.of(numbered(graph.edges, n)), edge_x)
    return Surroundings(features, Rows.of(normalised_adjacency(graph.edges, n)))


def build(config: dict[str, Any]) -> Network:
    """The model that a config describes, not yet trained."""
    settings, features, classes = config["settings"], config["features"], config["classes"]
    width, dropout = settings["hidden"], (settings["feature_dropout"], settings["hidden_dropout"])
    match settings["architecture"]:
        case "gat":
            heads, share = settings["heads"], settings["attention_dropout"]
            return GAT(features, width, heads, classes, *dropout, share)
        case "mpnn":
            edge = config["edge_features"], settings["units"]
            return MPNN(features, width, classes, *edge, *dropout)
        case _:
            return GCN(features, width, classes, *dropout)


def predict(folder: Path, graph: Graph) -> Tensor:  # (N, K)
    """The share of each class for each node."""
    model, config = load(folder)
    written = config["settings"]
    settings: Any = settings_class("graphs", written["architecture"])(**written)
    units = torch.tensor(config["edge_units"])
    around = surroundings(graph, settings.architecture, config["features"], units)
    everyone = Everyone(settings, around, graph)
    return everyone.shares(model.to(everyone.device))


def load(folder: Path) -> tuple[Network, dict[str, Any]]:
    """The trained model and its config."""
    weights, config = load_model(folder)
    model = build(config)
    model.load_state_dict(weights)
    return model.eval(), config


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
    """The better of a regression and an MLP on each node's own features, no edges.

    Validation picks which, and its penalty.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    graph, cases = Graph.of(tables), tables["cases"]
    rows = find(graph.nodes, cases["node"])
    x = graph.features().matrix.scipy()[rows].astype(float)  # shares, as the network sees them
    x.data /= x.data[x.data > 0].mean()  # around 1: an MLP learns little from a thousandth
    target, split = cases["target"].to_numpy(), cases["split"].to_numpy()
    seen, chosen_on = split == "train", split == "validation"
    blind = [
        *[LogisticRegression(C=loose, max_iter=1000) for loose in LOOSENESS],
        *[
            MLPClassifier(64, solver="lbfgs", alpha=alpha, max_iter=200, random_state=0)
            for alpha in PENALTIES
        ],
    ]
    with warnings.catch_warnings():  # an MLP that is cut short has stopped early, no more
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = [model.fit(x[seen], target[seen]) for model in blind]
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
    return lose_edges(tables, LOST_EDGES, seed)


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


def requests(tables: Tables, _: Answer | None = None) -> pd.DataFrame:
    """The nodes of the cases."""
    return tables["cases"][["node"]]


def describe(tables: Tables, asked: pd.DataFrame) -> pd.DataFrame:
    """How connected the nodes are, how many features they have, and how large these are."""
    features = tables["features"].groupby("node")["value"].agg(["count", "sum"])
    own = features.reindex(asked["node"]).fillna(0).reset_index(drop=True)
    degree = tables["nodes"].set_index("node")["degree"].reindex(asked["node"])
    return own.assign(degree=degree.to_numpy())


def draw(folder: Path, tables: Tables, pictures: Path) -> None:
    """The test nodes by what is answered for them, and where that is wrong."""
    graph = Graph.of(tables)
    cases = tables["cases"][tables["cases"]["split"] == "test"]
    shares = predict(folder, graph)[find(graph.nodes, cases["node"])]  # (test, K)
    label, answered = cases["target"].to_numpy(np.int64), shares.argmax(dim=1).numpy()
    title = (
        "Test nodes by what is answered for them (t-SNE)\n"
        f"A ring is a wrong answer in its colour: {(answered != label).sum()} of {len(label)}"
    )
    figure = draw_embeddings(shares.clamp_min(LEAST).log().numpy(), label, answered, title)
    figure.savefig(pictures / "answers_in_two_dimensions,_coloured_by_class.png", dpi=110)


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
    requests=requests,
    describe=describe,
    fingerprint=fingerprint,
    perturb=perturb,
    draw=draw,
)
