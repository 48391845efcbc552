"""Many graphs between their tables, requests and tensors.

Shapes: G graphs, N nodes, E edges.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hour9.graphs.batches import Graphs
from hour9.graphs.contract import LARGEST
from hour9.graphs.tables import MOST_EXAMPLES, UnknownNode
from hour9.sources.moleculenet import ATOM
from hour9.sources.smiles import numbers_of
from hour9.task import Tables

ENDS = ("source", "target")
SHAPE = '{"nodes": [[features], …], "edges": [[source, target, features], …]}'


def node_columns(tables: Tables) -> list[str]:
    """The features of a node."""
    return [name for name in tables["nodes"] if name not in ("case", "node")]


def edge_columns(tables: Tables) -> list[str]:
    """The features of an edge."""
    return [name for name in tables["edges"] if name not in ("case", "source", "target")]


def has_classes(cases: pd.DataFrame) -> bool:
    """Whether the targets are classes; else they are numbers to estimate."""
    return not pd.api.types.is_numeric_dtype(cases["target"])


def in_order(tables: Tables) -> pd.DataFrame:
    """`nodes`, the graphs in the order of their cases."""
    graph = pd.Index(tables["cases"]["case"]).get_indexer(tables["nodes"]["case"])
    order = np.lexsort((tables["nodes"]["node"], graph))
    return tables["nodes"].iloc[order].reset_index(drop=True)


def to_graphs(tables: Tables, config: dict[str, Any]) -> Graphs:
    """The graphs of the cases, in their order; node features in units of `config`'s largest.

    Raises UnknownNode where an edge ends at no node of its graph.
    """
    nodes, edges, number = in_order(tables), tables["edges"], pd.Index(tables["cases"]["case"])
    place = pd.MultiIndex.from_frame(nodes[["case", "node"]])
    ends = np.stack(
        [place.get_indexer(pd.MultiIndex.from_frame(edges[["case", end]])) for end in ENDS]
    )  # (2, E)
    if (lost := (ends < 0).any(axis=0)).any():
        found = edges.loc[lost, ["case", *ENDS]].head(MOST_EXAMPLES).to_numpy().tolist()
        raise UnknownNode(f"{lost.sum()} edges end at no node of their graph, e.g. {found}")
    x = nodes[config["nodes"]].to_numpy(np.float64) / config["largest"]
    return Graphs.of(
        x=single(x),
        sizes=torch.from_numpy(
            np.bincount(number.get_indexer(nodes["case"]), minlength=len(number))
        ),
        edges=torch.from_numpy(ends.astype(np.int64)),
        edge_x=single(edges[config["edges"]].to_numpy(np.float64)),
    )


def single(numbers: np.ndarray) -> Tensor:
    return torch.from_numpy(numbers.astype(np.float32))


def read_graph(texts: list[str], config: dict[str, Any]) -> Tables:
    """The tables of requests: JSON or, where the model's data were molecules with the features of
    moleculenet.py, SMILES too. Raises ValueError where a text is no graph of the model's kind."""
    width, edge_width = len(config["nodes"]), len(config["edges"])
    nodes, edges = [], []
    for case, text in enumerate(texts):
        if in_smiles(config) and not text.lstrip().startswith("{"):
            try:
                x, e = numbers_of(text.strip(), config["nodes"], config["edges"])
            except ValueError as error:
                raise ValueError(f"row {case} is no molecule in SMILES: {error}") from None
        else:
            try:
                graph = json.loads(text)
                x, e = rows(graph["nodes"], width), rows(graph["edges"], 2 + edge_width)
            except (ValueError, KeyError, TypeError, RecursionError):
                raise ValueError(f"row {case} is no graph: {SHAPE}") from None
        if not len(x) or x.shape[1] != width or e.shape[1] != 2 + edge_width:
            raise ValueError(
                f"row {case}: a node has the numbers {', '.join(config['nodes'])}; an edge source, "
                f"target, {', '.join(config['edges'])}; got {x.shape} and {e.shape}"
            )
        check_numbers(case, x, e)
        nodes.append(pd.DataFrame(x, columns=config["nodes"]).assign(case=str(case)))
        nodes[-1]["node"] = np.arange(len(x))
        edges.append(pd.DataFrame(e, columns=[*ENDS, *config["edges"]]).assign(case=str(case)))
    joined = pd.concat(edges, ignore_index=True)
    return {
        "nodes": pd.concat(nodes, ignore_index=True),
        "edges": joined.astype(dict.fromkeys(ENDS, "int64")),
        "cases": pd.DataFrame({"case": [str(case) for case in range(len(texts))]}),
    }


def in_smiles(config: dict[str, Any]) -> bool:
    """Whether the features of nodes are those that RDKit finds in a molecule."""
    return all(name.partition(".")[0] in ATOM for name in config["nodes"])


def check_numbers(case: int, x: np.ndarray, e: np.ndarray) -> None:  # (N, F), (E, 2 + D)
    """Raise ValueError where a request breaks what the contract asks of the data."""
    if not all((abs(numbers) <= LARGEST).all() for numbers in (x, e)):
        raise ValueError(f"row {case}: a number of the graph is not finite, or above {LARGEST:.0f}")
    ends = np.sort(e[:, :2], axis=1)
    outside = ((ends < 0) | (ends >= len(x)) | (ends % 1 != 0)).any(axis=1)
    _, first = np.unique(ends, axis=0, return_index=True)
    again = ~np.isin(np.arange(len(e)), first)
    for what, wrong in (
        (f"an edge joins two of its {len(x)} nodes", outside),
        ("an edge joins two different nodes", ends[:, 0] == ends[:, 1]),
        ("an edge stands once, in one direction", again),
    ):
        if wrong.any():
            raise ValueError(f"row {case}: {what}; not so {e[wrong.argmax(), :2].tolist()}")


def rows(numbers: list[list[float]], width: int) -> np.ndarray:  # (rows, width)
    """As an array of two dimensions, even where it has no rows. ValueError for anything else."""
    if not isinstance(numbers, list):
        raise ValueError("no list")
    found = np.array(numbers) if numbers else np.empty((0, width))
    if found.ndim != 2 or found.dtype.kind not in "if":
        raise ValueError("no rows of numbers")
    return found.astype(float)
