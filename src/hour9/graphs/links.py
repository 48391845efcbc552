"""Which two nodes of a graph are joined, when some of its edges are hidden.

Cases are pairs of nodes: edges, and as many pairs without one. The edges of validation and test
stand in `cases` alone: the table `edges`, along which messages pass, does not have them.

Shapes: N nodes, E edges, C channels of an embedding, P pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hour9.engine.device import pick_device
from hour9.engine.fit import Batch, fit
from hour9.engine.randomness import seed_all
from hour9.engine.run import Run
from hour9.engine.weights import load_model, save_model
from hour9.graphs import contract as rules
from hour9.graphs.gae import (
    GAE,
    adamic_adar,
    best_threshold,
    common_neighbours,
    count_unjoined,
    products,
    unjoined,
)
from hour9.graphs.nodes import READERS, perturb, surroundings
from hour9.graphs.pictures import UNKNOWN, draw_embeddings, draw_ranking
from hour9.graphs.settings import Gae
from hour9.graphs.tables import Graph, find
from hour9.task import Answer, Source, Tables, Task, UnknownName

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation

HELD_OUT = {"validation": 0.05, "test": 0.1}  # shares of the edges (Kipf & Welling 2016)
COMMON = ("no common neighbour", "common neighbours")
EMBEDDINGS = "embeddings.safetensors"


def ingest(source: Source) -> Tables:
    """The graph without the edges held out, and the pairs to tell apart."""
    if source.kind not in READERS:
        raise UnknownName(f"links reads no source '{source.kind}'; it reads {', '.join(READERS)}")
    tables = READERS[source.kind](source)
    labels = tables.get("labels", tables["cases"]).set_index("node")["target"]
    nodes = tables["nodes"].assign(
        label=tables["nodes"]["node"].map(labels).fillna(UNKNOWN).astype("int64")
    )
    edges, cases = hold_out(nodes["node"].to_numpy(), tables["edges"], source.seed)
    return {"nodes": nodes, "features": tables["features"], "edges": edges, "cases": cases}


def hold_out(
    nodes: NDArray[np.int64], edges: pd.DataFrame, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The edges that stay, and the cases: as many of the train split as of the test split.

    An edge to a node that is not there stays, for the contract to say.
    """
    draw = np.random.default_rng([seed, 2])
    ids = torch.tensor(nodes)
    known = edges[["source", "target"]].isin(set(nodes.tolist())).all(axis=1).to_numpy()
    sound = edges[known]
    ends = np.stack([find(ids, sound["source"]), find(ids, sound["target"])])  # (2, E)
    count = {split: int(share * len(sound)) for split, share in HELD_OUT.items()}
    order = draw.permutation(len(sound))
    cut = np.cumsum([count["validation"], count["test"], count["test"]])
    chosen = dict(zip(("validation", "test", "train"), np.split(order, cut)[:3], strict=True))
    free = unjoined(ends, len(nodes), 2 * count["test"] + count["validation"], draw)
    stays = np.sort(order[cut[1] :])  # the train cases are edges of the graph
    tables = []
    for split, rows in chosen.items():
        pairs = np.concatenate([ends[:, rows], free[:, : len(rows)]], axis=1)
        free = free[:, len(rows) :]
        target = np.repeat([1, 0], len(rows))
        tables.append(case_table(nodes, pairs, ends[:, stays], split, target))
    cases = pd.concat(tables).sort_values(["one", "other"], ignore_index=True)
    kept = np.concatenate([np.flatnonzero(known)[stays], np.flatnonzero(~known)])
    return edges.iloc[np.sort(kept)].reset_index(drop=True), cases


def case_table(
    nodes: NDArray[np.int64],
    pairs: NDArray[np.int64],
    edges: NDArray[np.int64],
    split: str,
    target: NDArray[np.int64],
) -> pd.DataFrame:
    """A row for each pair, the lower node first."""
    one, other = np.sort(nodes[pairs], axis=0)
    known = common_neighbours(edges, len(nodes), pairs) > 0
    return pd.DataFrame(
        {
            "case": [f"{a}-{b}" for a, b in zip(one, other, strict=True)],
            "one": one,
            "other": other,
            "split": split,
            "target": target,
            "group.common": np.array(COMMON, dtype=object)[known.astype(int)],
        }
    )


def contract(tables: Tables) -> dict[str, list[Expectation]]:
    """A graph like any, and cases whose answer it does not give away."""
    from great_expectations import expectations as expect

    return {
        "nodes": [
            *rules.columns("node", "label"),
            expect.ExpectColumnValuesToBeUnique(column="node"),
            expect.ExpectColumnValuesToBeBetween(column="label", min_value=UNKNOWN),
        ],
        "features": rules.features(),
        "edges": rules.edges(),
        "cases": [
            *rules.columns("case", "one", "other", "split", "target", "group.common"),
            *rules.pairs("one", "other"),
            expect.ExpectColumnValuesToNotBeInSet(column="case", value_set=leaked(tables)),
            expect.ExpectColumnValuesToBeInSet(column="target", value_set=[0, 1]),
            expect.ExpectColumnValuesToBeInSet(column="group.common", value_set=list(COMMON)),
        ],
    }


def leaked(tables: Tables) -> list[str]:
    """Cases whose answer the graph gives away: pairs held out, or without an edge, that it joins.

    A name that no case has where there is none, so that the expectation always checks something.
    """
    edges, cases = tables["edges"], tables["cases"]
    joined = set(zip(edges["source"], edges["target"], strict=True))
    hidden = (cases["split"] != "train") | (cases["target"] == 0)
    pairs = zip(cases["one"], cases["other"], strict=True)
    found = hidden & pd.Series([pair in joined for pair in pairs], index=cases.index, dtype=bool)
    return ["", *cases.loc[found, "case"]]


def train(run: Run) -> None:
    """Each edge against a pair without one. The pairs are drawn anew at each step; where there are
    fewer than edges, all are taken."""
    settings: Gae = run.settings
    seed_all(settings.seed)
    graph = Graph.of(run.tables)
    n, edges = len(graph.nodes), graph.edges.numpy()
    around = surroundings(graph, "gcn")
    config = {"settings": settings.model_dump(), "features": around.features.width}
    model = build(config)
    device = pick_device(settings.device)
    seen = around.field(np.arange(n), [0, 0]).to(device)
    pairs, target = held_out(graph, run.tables["cases"], "validation")
    apart = min(edges.shape[1], count_unjoined(edges, n))

    def batches(epoch: int) -> list[Batch]:
        draw = np.random.default_rng([settings.seed, epoch])
        return [{"apart": torch.from_numpy(unjoined(edges, n, apart, draw))}]

    def loss(wrapped: nn.Module, batch: Batch) -> Tensor:
        asked = torch.cat([graph.edges.to(device), batch["apart"]], dim=1)  # (2, at most 2E)
        logits = products(wrapped(seen), asked) - model.bias
        joined = torch.arange(asked.shape[1], device=device) < edges.shape[1]
        return F.binary_cross_entropy_with_logits(logits, joined.to(logits.dtype))

    def validate(model: nn.Module) -> float:
        return ranking(products(embed(model), pairs).numpy(), target)["average precision"]

    @torch.no_grad()
    def embed(model: nn.Module) -> Tensor:  # (N, C)
        return model(seen).cpu()

    fit(run, model, batches, loss, validate)
    z = embed(model)
    config["threshold"] = best_threshold(products(z, pairs).double().numpy(), target)
    save_model(run.folder, model.state_dict(), config)
    save_file({"nodes": graph.nodes, "vectors": z.contiguous()}, run.folder / EMBEDDINGS)


def build(config: dict) -> GAE:
    """The model that a config describes, not yet trained."""
    s = config["settings"]
    dropout = s["feature_dropout"], s["hidden_dropout"]
    return GAE(config["features"], s["hidden"], s["channels"], *dropout)


def held_out(graph: Graph, cases: pd.DataFrame, split: str) -> tuple[Tensor, NDArray[np.int64]]:
    """The pairs of a split by position, and whether they are joined."""
    rows = cases[cases["split"] == split]
    return positions(graph.nodes, rows), rows["target"].to_numpy(np.int64)


def positions(nodes: Tensor, pairs: pd.DataFrame) -> Tensor:  # (2, P)
    return torch.from_numpy(np.stack([find(nodes, pairs["one"]), find(nodes, pairs["other"])]))


def ranking(scores: NDArray[np.float64], target: NDArray[np.int64]) -> dict[str, float]:
    """How well the scores put edges before other pairs, whatever the threshold."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    return {
        "ROC-AUC": float(roc_auc_score(target, scores)),
        "average precision": float(average_precision_score(target, scores)),
    }


def logits(folder: Path, pairs: pd.DataFrame) -> Tensor:  # (P,)
    """Above 0 where the model takes a pair for joined, by the embeddings it was saved with.

    b is the threshold that validation chose, in place of the learnt one: a hidden edge has a
    smaller product than one along which its ends have heard each other.
    """
    _, config = load_model(folder)
    saved = load_file(folder / EMBEDDINGS)
    z, at = saved["vectors"], positions(saved["nodes"], pairs)
    return products(z, at).double() - config["threshold"]


@torch.no_grad()
def embedded(weights: dict[str, Tensor], config: dict[str, Any], graph: Graph) -> Tensor:  # (N, C)
    """The nodes' embeddings along the edges that this graph has."""
    model = build(config)
    model.load_state_dict(weights)
    around = surroundings(graph, "gcn", config["features"])
    return model.eval()(around.field(np.arange(len(graph.nodes)), [0, 0]))


def score(folder: Path, tables: Tables) -> pd.DataFrame:
    """1 where a pair is told rightly, by the threshold that was chosen on validation."""
    cases, graph = tables["cases"], Graph.of(tables)
    weights, config = load_model(folder)
    pairs = positions(graph.nodes, cases)
    found = products(embedded(weights, config, graph), pairs).double() - config["threshold"]
    right = (found > 0).numpy() == (cases["target"] == 1).to_numpy()
    confidence = torch.maximum(found.sigmoid(), (-found).sigmoid()).numpy()
    return pd.DataFrame(
        {"case": cases["case"], "score": right.astype(float), "confidence": confidence}
    )


def baseline(tables: Tables) -> pd.DataFrame:
    """Adamic–Adar over the edges that are left, with its threshold chosen on validation."""
    cases = tables["cases"]
    found = counted(adamic_adar, tables)
    chosen_on = (cases["split"] == "validation").to_numpy()
    target = cases["target"].to_numpy(np.int64)
    threshold = best_threshold(found[chosen_on], target[chosen_on])
    right = (found > threshold) == (target == 1)
    return pd.DataFrame({"case": cases["case"], "score": right.astype(float)})


def counted(
    count: Callable[[NDArray, int, NDArray], NDArray], tables: Tables
) -> NDArray[np.float64]:
    """One of the counts of common neighbours, for every case."""
    graph = Graph.of(tables)
    pairs = positions(graph.nodes, tables["cases"]).numpy()
    return count(graph.edges.numpy(), len(graph.nodes), pairs)


def answer(folder: Path) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """For pairs of nodes of the graph: whether they are joined, and how likely."""

    def reply(requests: pd.DataFrame) -> pd.DataFrame:
        if (same := requests["one"] == requests["other"]).any():
            node = requests.loc[same, "one"].iloc[0]
            raise ValueError(f"a pair is two different nodes; got {node} twice")
        found = logits(folder, requests)
        return pd.DataFrame({"joined": (found > 0).numpy(), "probability": found.sigmoid().numpy()})

    return reply


def example(tables: Tables) -> pd.DataFrame:
    """Three pairs to ask about."""
    return tables["cases"][["one", "other"]].head(3)


def measure(folder: Path, tables: Tables) -> dict[str, float]:
    """How well the model and the two counts rank the test pairs."""
    scores, target = on_test(folder, tables)
    return {
        f"{name}/{way.replace('–', '-')}": value  # as MLflow allows
        for way, found in scores.items()
        for name, value in ranking(found, target).items()
    }


def on_test(
    folder: Path, tables: Tables
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.int64]]:
    """The test pairs' scores by each way to find edges, and whether they are joined."""
    cases = tables["cases"]
    test = (cases["split"] == "test").to_numpy()
    scores = {
        "graph auto-encoder": logits(folder, cases).numpy()[test],
        "Adamic–Adar": counted(adamic_adar, tables)[test],
        "common neighbours": counted(common_neighbours, tables)[test],
    }
    return scores, cases["target"].to_numpy(np.int64)[test]


def draw(folder: Path, tables: Tables, pictures: Path) -> None:
    """Both curves beside the counts', and the embeddings in two dimensions."""
    figure = draw_ranking(*on_test(folder, tables))
    figure.savefig(pictures / "held-out_edges_against_pairs_without_one.png", dpi=110)
    saved = load_file(folder / EMBEDDINGS)
    labels = tables["nodes"].set_index("node")["label"].loc[saved["nodes"].numpy()].to_numpy()
    figure = draw_embeddings(saved["vectors"].numpy(), labels)
    figure.savefig(pictures / "embeddings_in_two_dimensions,_coloured_by_class.png", dpi=110)


def requests(tables: Tables, _: Answer | None = None) -> pd.DataFrame:
    """The pairs of the cases."""
    return tables["cases"][["one", "other"]]


def describe(tables: Tables, asked: pd.DataFrame) -> pd.DataFrame:
    """How many neighbours both nodes of a pair have, and how many of them they share."""
    graph = Graph.of(tables)
    edges, pairs = graph.edges.numpy(), positions(graph.nodes, asked).numpy()
    degree = np.sort(np.bincount(edges.ravel(), minlength=len(graph.nodes))[pairs], axis=0)
    shared = common_neighbours(edges, len(graph.nodes), pairs)
    return pd.DataFrame({"fewer": degree[0], "more": degree[1], "shared": shared})


TASK = Task(
    name="links",
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
    measure=measure,
    draw=draw,
    perturb=perturb,
)
