"""Sets of labelled graphs in the text files of TUDataset (Morris et al. 2020): MUTAG, PROTEINS.

Labels of nodes and edges become a column each, 1 where it is theirs; attributes stay numbers.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hour9.sources.splits import MissingFile, raw_of
from hour9.task import Tables
from hour9.wording import some

NEEDED = ("A", "graph_indicator", "graph_labels")
LABELS = "label"
ATTRIBUTES = "attribute"


class BadFile(ValueError):  # noqa: N818 - reads as a sentence where it is raised
    """A file does not hold what its name promises; the message says which and where."""


def read_tudataset(root: Path, name: str) -> Tables:
    """The tables of one set from the files in `root`/`name`, or in its folder raw.

    Raises MissingFile, with all that is missing, or BadFile.
    """
    files = {part: file_of(root, name, part) for part in NEEDED}
    if missing := [str(path) for path in files.values() if not path.exists()]:
        raise MissingFile(f"the set '{name}' lacks {', '.join(missing)}")
    targets = read_numbers(files["graph_labels"], int)[:, 0]
    graph = read_numbers(files["graph_indicator"], int)[:, 0]  # of each node, counted from 1
    within(files["graph_indicator"], graph, len(targets), "graph")
    nodes = node_table(files["graph_indicator"], graph)
    known = features(root, name, "node", len(nodes))
    if not known.shape[1]:  # all nodes look the same then (Xu et al. 2019, section 7)
        known = pd.DataFrame({"constant": np.ones(len(nodes))})
    return {
        "nodes": pd.concat([nodes, known], axis=1),
        "edges": edge_table(files["A"], nodes, features(root, name, "edge")),
        "cases": pd.DataFrame(
            {
                "case": np.arange(len(targets)).astype(str),
                "split": "",
                "target": [f"class {label}" for label in targets],
            }
        ),
    }


def file_of(root: Path, name: str, part: str) -> Path:
    """Where a part of the set lies."""
    file = f"{name}_{part}.txt"
    return raw_of(root / name, lambda it: it.startswith(f"{name}_")) / file


def node_table(path: Path, graph: NDArray[np.int64]) -> pd.DataFrame:
    """Nodes, counted from 0 in each graph."""
    if (back := np.flatnonzero(np.diff(graph) < 0)).size:
        raise BadFile(f"{path}, line {back[0] + 2}: a graph's nodes stand together, in order")
    first = np.searchsorted(graph, graph)  # the first node of the same graph
    return pd.DataFrame({"case": (graph - 1).astype(str), "node": np.arange(len(graph)) - first})


def edge_table(path: Path, nodes: pd.DataFrame, features: pd.DataFrame) -> pd.DataFrame:
    """Each edge once, source ≤ target; the files walk it both ways."""
    ends = read_numbers(path, int)
    if ends.shape[1] != 2:
        raise BadFile(f"{path}: expected two nodes a line, got {ends.shape[1]}")
    within(path, ends, len(nodes), "node")
    case, node = nodes["case"].to_numpy(), nodes["node"].to_numpy()
    ends = np.sort(ends - 1, axis=1)
    if (apart := np.flatnonzero(case[ends[:, 0]] != case[ends[:, 1]])).size:
        raise BadFile(f"{path}, line {apart[0] + 1}: an edge joins nodes of two graphs")
    if len(features) not in (0, len(ends)):
        raise BadFile(f"{path} has {len(ends)} edges, but {len(features)} edges have features")
    table = pd.DataFrame(
        {"case": case[ends[:, 0]], "source": node[ends[:, 0]], "target": node[ends[:, 1]]}
    )
    order = np.lexsort((ends[:, 1], ends[:, 0]))
    return pd.concat([table, features], axis=1).iloc[order].drop_duplicates(ignore_index=True)


def features(root: Path, name: str, of: str, count: int | None = None) -> pd.DataFrame:
    """The features of nodes or edges; no columns where the set has none."""
    found = pd.DataFrame()
    for kind in (LABELS, ATTRIBUTES):
        path = file_of(root, name, f"{of}_{kind}s")
        if not path.exists():
            continue
        numbers = read_numbers(path, int if kind == LABELS else float)
        if count is not None and len(numbers) != count:
            raise BadFile(f"{path}: expected {count} lines, one a {of}, got {len(numbers)}")
        for place, column in enumerate(numbers.T):
            if kind == ATTRIBUTES:
                found[f"{kind}.{place}"] = column
                continue
            for value in np.unique(column):
                found[f"{kind}.{place}.{value}"] = (column == value).astype(float)
    return found


def read_numbers(path: Path, kind: type) -> NDArray:  # (lines, numbers a line)
    """Raises BadFile where a line holds something else."""
    try:
        numbers = np.loadtxt(path, np.float64, delimiter=",", ndmin=2, encoding="utf-8-sig")
    except ValueError as error:
        raise BadFile(f"{path}: {error}") from None
    if not numbers.size:
        raise BadFile(f"{path} is empty")
    if kind is int and len(broken := np.argwhere(numbers % 1 != 0)):  # 1.0 is whole, nan is not
        row, place = broken[0]
        raise BadFile(f"{path}, line {row + 1}: expected whole numbers, got {numbers[row, place]}")
    return numbers.astype(kind)


def within(path: Path, numbers: NDArray[np.int64], last: int, what: str) -> None:
    """Raise BadFile unless all are from 1 to `last`."""
    wrong = np.argwhere((numbers < 1) | (numbers > last))
    if len(wrong):
        shown = some(
            list(wrong), "; ", lambda place: f"line {place[0] + 1}: {numbers[tuple(place)]}"
        )
        raise BadFile(f"{path}: no such {what}, {shown}; there are 1 to {last}")
