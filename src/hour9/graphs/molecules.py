"""What a whole graph is: which class, or what number.

Targets that are text are classes, and a score is 1 or 0; targets that are numbers are to be
estimated, and a score is minus the absolute error, in the target's unit.

Tables: `nodes` (case, node, features), `edges` (case, source, target, features), each edge once,
and `cases`, a row for each graph.

Shapes: G graphs, N nodes, K classes, or K = 1 number.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hour9.engine.device import answering_device, pick_device
from hour9.engine.fit import Batch, fit
from hour9.engine.randomness import seed_all
from hour9.engine.run import Run
from hour9.engine.weights import load_model, save_model
from hour9.graphs.atlas import read_atlas
from hour9.graphs.batches import Graphs, batches
from hour9.graphs.blind import baseline
from hour9.graphs.contract import LARGEST
from hour9.graphs.gin import GIN
from hour9.graphs.molecule_tables import (
    edge_columns,
    has_classes,
    in_order,
    node_columns,
    read_graph,
    to_graphs,
)
from hour9.graphs.set_to_set import SetToSetMPNN
from hour9.graphs.tables import lose_edges
from hour9.sources.fingerprints import of_graphs
from hour9.sources.moleculenet import read_arrays, read_molecules
from hour9.sources.smiles import read_smiles
from hour9.sources.splits import MissingFile, in_folds
from hour9.sources.tudataset import read_tudataset
from hour9.task import Answer, Source, Tables, Task, UnknownName
from hour9.wording import some

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation

SIZES = ("small", "large")
LOST_BONDS = 0.05  # share of bonds that a perturbed molecule lacks
MOST_CLASSES = 20


def ingest(source: Source) -> Tables:
    """The graphs' tables; the cases are sliced by whether they are larger than most."""
    if source.kind == "embedded":
        tables = folded(read_atlas(source), source)
    elif source.kind == "path":
        tables = read_path(source)
    else:
        raise UnknownName(f"molecules reads no source '{source.kind}'; it reads embedded, path")
    cases = tables["cases"]
    parts = pd.concat([tables["nodes"]["case"], tables["edges"]["case"]]).value_counts()
    size = parts.reindex(cases["case"]).to_numpy()  # with bonds: of atoms alone, most have seven
    size = np.array(SIZES, dtype=object)[(size >= np.nanmedian(size)).astype(int)]
    return {**tables, "cases": cases.assign(**{"group.size": size})}


def read_path(source: Source) -> Tables:
    """`root`/`name`.csv, .csv.gz or .npz, or else the text files in the folder `root`/`name`.

    Raises MissingFile, BadFile or SourceRefused.
    """
    root = Path(source.root)
    readers = {"csv": read_smiles, "csv.gz": read_smiles, "npz": read_arrays}
    for ending, read in readers.items():
        if (path := root / f"{source.name}.{ending}").exists():
            return read_molecules(read(path), source.seed, source.fold)
    if not source.name or not (root / source.name).is_dir():
        there = sorted(path.name for path in root.iterdir()) if root.is_dir() else []
        raise MissingFile(
            f"'{root}' holds no set '{source.name}': neither {source.name}.csv nor "
            f"{source.name}.npz nor such a folder, but {some(there) or 'nothing'}; set source.name"
        )
    return folded(read_tudataset(root, source.name), source)


def folded(tables: Tables, source: Source) -> Tables:
    """The tables, dealt in folds where the source asks for one."""
    if source.fold < 0:
        return tables
    cases = tables["cases"]
    split = in_folds(cases["target"], source.fold, source.seed)
    return {**tables, "cases": cases.assign(split=split)}


def metric(tables: Tables) -> str:
    return "accuracy" if has_classes(tables["cases"]) else "-|error|"


def contract(tables: Tables) -> dict[str, list[Expectation]]:
    """Each graph has nodes, edges join two of its nodes, once; features and targets are there."""
    from great_expectations import expectations as expect

    from hour9.sources.references import (
        ExpectColumnPairValuesToStandIn,
        ExpectColumnValuesToStandIn,
    )

    cases = tables["cases"]

    def columns(*names: str) -> list[Expectation]:
        return [
            expect.ExpectTableRowCountToBeBetween(min_value=1),
            expect.ExpectTableColumnsToMatchSet(column_set=list(names), exact_match=True),
            *[expect.ExpectColumnValuesToNotBeNull(column=name) for name in names],
        ]

    def features(names: list[str]) -> list[Expectation]:
        return [
            expect.ExpectColumnValuesToBeBetween(column=name, min_value=-LARGEST, max_value=LARGEST)
            for name in names
        ]

    def known(column: str, table: str) -> Expectation:
        return ExpectColumnValuesToStandIn(column=column, place=f"{table}.case")

    def of_the_graph(column: str) -> Expectation:
        return ExpectColumnPairValuesToStandIn(
            column_A="case", column_B=column, place="nodes.case.node"
        )

    if has_classes(cases):
        learnt = cases.loc[cases["split"] == "train", "target"].dropna().unique().tolist()
        targets: list[Expectation] = [
            expect.ExpectColumnValuesToBeInSet(column="target", value_set=learnt),
            expect.ExpectColumnUniqueValueCountToBeBetween(
                column="target", min_value=2, max_value=MOST_CLASSES
            ),
        ]
    else:
        targets = [
            *features(["target"]),
            expect.ExpectColumnUniqueValueCountToBeBetween(column="target", min_value=2),
        ]
    return {
        "nodes": [
            *columns("case", "node", *node_columns(tables)),
            known("case", "cases"),
            expect.ExpectColumnValuesToBeBetween(column="node", min_value=0),
            expect.ExpectCompoundColumnsToBeUnique(column_list=["case", "node"]),
            *features(node_columns(tables)),
        ],
        "edges": [
            *columns("case", "source", "target", *edge_columns(tables)),
            of_the_graph("source"),
            of_the_graph("target"),
            expect.ExpectColumnPairValuesAToBeGreaterThanB(column_A="target", column_B="source"),
            expect.ExpectCompoundColumnsToBeUnique(column_list=["case", "source", "target"]),
            *features(edge_columns(tables)),
        ],
        "cases": [
            *columns("case", "split", "target", "group.size"),
            known("case", "nodes"),
            expect.ExpectColumnValuesToBeInSet(column="group.size", value_set=list(SIZES)),
            *targets,
        ],
    }


def train(run: Run) -> None:
    """Minimise cross-entropy, or squared error; the epoch of the least on validation stays."""
    settings = run.settings
    seed_all(settings.seed)
    cases = run.tables["cases"]
    config = {"settings": settings.model_dump(), **described(run.tables)}
    graphs, target = to_graphs(run.tables, config), targets_of(cases, config)
    learnt, held_out = (
        torch.from_numpy(np.flatnonzero(cases["split"] == split))
        for split in ("train", "validation")
    )
    device = pick_device(settings.device)
    unseen, wanted = graphs.take(held_out).to(device), target[held_out].to(device)

    def loss(model: nn.Module, batch: Batch) -> Tensor:
        fields = dict(batch)
        target = fields.pop("target")
        return distance(model(Graphs(**fields)), target)

    def validate(model: nn.Module) -> float:
        with torch.no_grad():
            return -distance(model(unseen), wanted).item()

    model = build(config)
    of_epoch = batches(graphs.take(learnt), target[learnt], settings.batch_size, settings.seed)
    fit(run, model, of_epoch, loss, validate)
    save_model(run.folder, model.state_dict(), config)


def described(tables: Tables) -> dict[str, Any]:
    """What a model must know of the data it was trained on."""
    cases, nodes = tables["cases"], tables["nodes"]
    train = cases[cases["split"] == "train"]
    seen = nodes["case"].isin(train["case"])
    columns = node_columns(tables)
    largest = nodes.loc[seen, columns].abs().max().clip(lower=1.0)
    known: dict[str, Any] = {
        "nodes": columns,
        "largest": largest.tolist(),
        "edges": edge_columns(tables),
    }
    if has_classes(cases):
        return known | {"classes": sorted(train["target"].unique())}
    spread = float(train["target"].std())
    return known | {"mean": float(train["target"].mean()), "spread": spread or 1.0}


def targets_of(cases: pd.DataFrame, config: dict[str, Any]) -> Tensor:  # (G,)
    """The number of the class, or the number in units of the training set's spread."""
    if "classes" in config:
        return torch.from_numpy(pd.Index(config["classes"]).get_indexer(cases["target"]).copy())
    scaled = (cases["target"].to_numpy(np.float64) - config["mean"]) / config["spread"]
    return torch.from_numpy(scaled.astype(np.float32))


def distance(output: Tensor, target: Tensor) -> Tensor:  # (G, K), (G,) -> ()
    if target.is_floating_point():
        return F.mse_loss(output.squeeze(1), target)
    return F.cross_entropy(output, target)


def build(config: dict[str, Any]) -> GIN | SetToSetMPNN:
    """The model that a config describes, not yet trained."""
    settings = config["settings"]
    shape = {
        "features": len(config["nodes"]),
        "edge_features": len(config["edges"]),
        "outputs": len(config.get("classes", [0])),
        "hidden": settings["hidden"],
        "dropout": settings["dropout"],
    }
    if settings["architecture"] == "gin":
        return GIN(**shape, layers=settings["layers"])
    own = {name: settings[name] for name in ("units", "rounds", "turns")}
    return SetToSetMPNN(**shape, **own)


def load(folder: Path) -> tuple[GIN | SetToSetMPNN, dict[str, Any]]:
    """A trained model, ready to answer, and its config."""
    weights, config = load_model(folder)
    model = build(config)
    model.load_state_dict(weights)
    return model.eval(), config


def estimates(folder: Path, tables: Tables) -> np.ndarray:  # (G, K)
    """The probability of each class, or the number in its own unit."""
    model, config = load(folder)
    device = answering_device(config["settings"]["device"])
    with torch.no_grad():
        output = model.to(device)(to_graphs(tables, config).to(device)).double().cpu()
    if "classes" in config:
        return output.softmax(dim=1).numpy()
    return output.numpy() * config["spread"] + config["mean"]


def predict(folder: Path, tables: Tables) -> pd.DataFrame:
    """label and confidence, or value, of each case."""
    found, config = estimates(folder, tables), load_model(folder)[1]
    if "classes" not in config:
        return pd.DataFrame({"value": found[:, 0]})
    label = np.array(config["classes"], dtype=object)[found.argmax(axis=1)]
    return pd.DataFrame({"label": label, "confidence": found.max(axis=1)})


def score(folder: Path, tables: Tables) -> pd.DataFrame:
    """1 or 0 for a class, minus the absolute error for a number."""
    cases = tables["cases"]
    found = predict(folder, tables)
    scores = pd.DataFrame({"case": cases["case"]})
    if "value" in found:
        return scores.assign(score=-(found["value"] - cases["target"]).abs())
    right = found["label"].to_numpy() == cases["target"].to_numpy()
    return scores.assign(score=right.astype(float), confidence=found["confidence"])


def fingerprint(tables: Tables) -> pd.DataFrame:
    """Graphs that differ in the names of their nodes only."""
    nodes, edges = node_columns(tables), edge_columns(tables)
    atoms = dict(list(in_order(tables).groupby("case")))
    bonds = dict(list(tables["edges"].groupby("case")))
    none = tables["edges"].head(0)

    def parts(case: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        atom, bond = atoms[case], bonds.get(case, none)
        place = pd.Index(atom["node"])
        ends = np.stack([place.get_indexer(bond[end]) for end in ("source", "target")])
        return atom[nodes].to_numpy(), ends, bond[edges].to_numpy()

    cases = tables["cases"]["case"]
    return of_graphs(cases, map(parts, cases))


def perturb(tables: Tables, seed: int) -> Tables:
    """The molecules with a share of their bonds overlooked."""
    return lose_edges(tables, LOST_BONDS, seed)


def answer(folder: Path) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Answers for graphs written as JSON in a column `graph`, in the order of the features.

    {"nodes": [[features of node 0], …], "edges": [[source, target, features], …]}
    """
    config = load_model(folder)[1]

    def reply(requests: pd.DataFrame) -> pd.DataFrame:
        if "graph" not in requests:
            raise ValueError(f"a request needs the column 'graph'; got {', '.join(requests)}")
        return predict(folder, read_graph(requests["graph"].tolist(), config))

    return reply


def example(tables: Tables) -> pd.DataFrame:
    """Three graphs to ask about."""
    return requests({**tables, "cases": tables["cases"].tail(3)})


def requests(tables: Tables, _: Answer | None = None) -> pd.DataFrame:
    """The graphs of the cases."""
    nodes, edges = (dict(list(tables[name].groupby("case"))) for name in ("nodes", "edges"))
    none, asked = tables["edges"].head(0), []
    for case in tables["cases"]["case"]:
        joined = edges.get(case, none)
        ends = joined[["source", "target"]].to_numpy().tolist()
        carried = joined[edge_columns(tables)].to_numpy().tolist()
        graph = {
            "nodes": nodes[case].sort_values("node")[node_columns(tables)].to_numpy().tolist(),
            "edges": [[*pair, *x] for pair, x in zip(ends, carried, strict=True)],
        }
        asked.append(json.dumps(graph))
    return pd.DataFrame({"graph": asked})


def draw(folder: Path, tables: Tables, pictures: Path) -> None:
    """The graphs it gets most wrong, and which nodes a set-to-set read-out looks at."""
    from hour9.graphs.molecule_pictures import draw_attention, draw_wrong

    model, config = load(folder)
    draw_wrong(tables, predict(folder, tables), pictures / "what_it_gets_most_wrong.png")
    if isinstance(model, SetToSetMPNN):
        with torch.no_grad():
            attention = model.attention(to_graphs(tables, config)).numpy()
        order = in_order(tables).set_index(["case", "node"]).index
        draw_attention(
            tables, pd.Series(attention, index=order), pictures / "where_the_read-out_looks.png"
        )


def describe(tables: Tables, asked: pd.DataFrame) -> pd.DataFrame:
    """The size of each graph, and the means of what its nodes and edges carry."""
    config = {"nodes": node_columns(tables), "edges": edge_columns(tables)}
    found = read_graph(asked["graph"].tolist(), config)
    parts = {name: found[name].groupby("case", sort=False) for name in ("nodes", "edges")}
    order = [str(row) for row in range(len(asked))]
    columns = {name: part.size().reindex(order).fillna(0) for name, part in parts.items()}
    for name, part in parts.items():
        means = part[config[name]].mean().reindex(order).fillna(0).add_prefix(f"{name} ")
        columns |= dict(means.items())
    return pd.DataFrame(columns).reset_index(drop=True)


TASK = Task(
    name="molecules",
    metric=metric,
    ingest=ingest,
    takes=("fold",),
    contract=contract,
    train=train,
    score=score,
    baseline=baseline,
    answer=answer,
    example=example,
    requests=requests,
    describe=describe,
    draw=draw,
    fingerprint=fingerprint,
    perturb=perturb,
)
