"""A graph of one's own, in two tables: nodes and edges, as .csv or .parquet.

    nodes   node, target, and a column for each feature; split, if the graph comes with one
    edges   source, target; distance, if edges carry one

Nodes are named by whole numbers, classes too, from 0. A node with an empty target, or an empty
split, is one that nobody is asked about: it has no case. What is wrong with the graph itself, the
contract says.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from hour9.sources.splits import MissingFile, at_random, split_of, tell_left_out, with_all_splits
from hour9.sources.tudataset import BadFile
from hour9.task import Tables

KINDS = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
KNOWN = ("node", "source", "target", "distance", "split")  # in whatever case they are written
SHARES = (0.6, 0.2)  # train and validation, where the graph comes without a split
SHOWN = 3  # rows that a message lists
LARGEST = 2**53  # beyond it, not every whole number has a double of its own


def read_graph_files(root: Path, seed: int) -> Tables:
    """The tables of the graph in a folder. Raises MissingFile or BadFile."""
    nodes = read_table(root, "nodes", whole=["node"])
    edges = read_table(root, "edges", whole=["source", "target"])
    if (again := nodes["node"].duplicated()).any():
        raise BadFile(f"{root}: node {nodes.loc[again, 'node'].iloc[0]} stands in several rows")
    unread = edges.columns.difference(["source", "target", "distance"])
    if len(unread):
        tell_left_out(root, [f"edges.{name}" for name in unread], "edges carry a distance")
    edges = edges.assign(**{"distance": 1.0} if "distance" not in edges else {})
    ends = np.sort(edges[["source", "target"]].to_numpy(np.int64), axis=1)  # it has no direction
    features = nodes.drop(columns=["node", "target", "split"], errors="ignore")
    if not features.shape[1]:
        raise BadFile(f"{root}: nodes has no features, a column of numbers for each")
    return {
        "nodes": nodes[["node"]],
        "features": entries(nodes["node"], features),
        "edges": edges.assign(source=ends[:, 0], target=ends[:, 1])[
            ["source", "target", "distance"]
        ],
        "cases": case_table(root, nodes, seed),
    }


def read_table(root: Path, name: str, whole: list[str]) -> pd.DataFrame:
    """One of the two, once its columns are known to hold numbers; those of `whole`, all rows."""
    path = next((p for kind in KINDS if (p := root / f"{name}{kind}").exists()), None)
    if path is None:
        raise MissingFile(f"{root} lacks {name}.csv or {name}.parquet")
    try:
        table = KINDS[path.suffix](path)
    except ValueError as error:  # of pandas and of Arrow
        raise BadFile(f"{path} is no table: {error}") from None
    lower = {column: str(column).lower() for column in table}
    table = table.rename(columns={c: n for c, n in lower.items() if n in KNOWN and n not in table})
    if lacking := [column for column in [*whole, "target"] if column not in table]:
        raise BadFile(f"{path} lacks the columns {', '.join(lacking)}; it has {', '.join(table)}")
    for column in table.columns.difference(["split"]):
        numbers = pd.to_numeric(table[column], errors="coerce")
        wrong, kind = numbers.isna() & table[column].notna(), "numbers"
        if column in [*whole, "target"]:
            wrong |= (numbers % 1 > 0) | (numbers.abs() >= LARGEST)
            kind = f"whole numbers below {LARGEST:.0e}"
        if column in whole:
            wrong |= numbers.isna()
        if wrong.any():
            said = table.loc[wrong, column].head(SHOWN).tolist()
            raise BadFile(f"{path}, column {column}: {wrong.sum()} rows hold no {kind}: {said}")
        table[column] = numbers
    return table


def entries(nodes: pd.Series, features: pd.DataFrame) -> pd.DataFrame:
    """A row for each feature that a node has; an empty cell stays one, for the contract to say."""
    values = features.to_numpy(np.float64)
    row, column = np.nonzero(values)  # a number that is none counts as not zero
    return pd.DataFrame(
        {"node": nodes.to_numpy(np.int64)[row], "feature": column, "value": values[row, column]}
    )


def case_table(root: Path, nodes: pd.DataFrame, seed: int) -> pd.DataFrame:
    """A row for each node of a known class; its split is the file's, or drawn by the seed."""
    cases = nodes[nodes["target"].notna()]
    if "split" in cases:
        cases = cases[cases["split"].notna()]
        split = cases["split"].astype(str).map(split_of)
        if (split == "").any():
            said = sorted(set(cases.loc[split == "", "split"].astype(str)))[:SHOWN]
            raise BadFile(f"{root}: a split is train, validation or test, not {', '.join(said)}")
    else:
        split = at_random(len(cases), *SHARES, seed)
    table = pd.DataFrame(
        {
            "case": cases["node"].astype("int64").astype(str),
            "node": cases["node"].astype("int64"),
            "split": np.asarray(split, dtype=object),
            "target": cases["target"].astype("int64"),
        }
    ).reset_index(drop=True)
    return with_all_splits(table, seed)
