"""The citation graphs Cora, CiteSeer and PubMed with their public split (Yang et al. 2016).

Their files are pickles, and a pickle runs whatever it names. These are read by an unpickler that
knows the six names they need and refuses every other.

Shapes: N nodes, E edges, K classes.
"""

import pickle
from collections import defaultdict
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
from numpy._core.multiarray import _reconstruct
from numpy.typing import NDArray
from scipy.sparse import csr_array

from hour9.task import Tables, UnknownName

NAMES = ("Cora", "CiteSeer", "PubMed")
PARTS = ("x", "tx", "allx", "y", "ty", "ally", "graph", "test.index")
VALIDATION = 500
DOWNLOADS = Path(".hour9/downloads/planetoid")


class RefusedPickle(ValueError):  # noqa: N818 - reads as a sentence where it is raised
    """A pickle names something that a citation graph has no need of."""


def read_planetoid(root: Path, name: str) -> Tables:
    """The tables of one citation graph from the files in `root`/`name`/raw.

    Raises UnknownName, FileNotFoundError or RefusedPickle.
    """
    parts = read_parts(root, name)
    test = parts["test.index"]
    known = np.arange(len(parts["ally"]))
    position = np.concatenate([known, test])  # node of each row of `allx` and `ally`, `tx` and `ty`
    nodes = np.arange(position.max() + 1)  # CiteSeer: some stand in no file but the graph
    return {
        "nodes": pd.DataFrame({"node": nodes}),
        "features": word_table(parts, position),
        "edges": edge_table(parts["graph"]),
        "cases": case_table(parts, position),
    }


def download(name: str, folder: Path = DOWNLOADS) -> Path:
    """Fetch the files by PyG's own downloader, from its own address; return the root to read from.

    PyG's dataset class itself is not used: it would unpickle what it fetched.
    """
    from torch_geometric.datasets import Planetoid
    from torch_geometric.io import fs

    for path in paths(folder, name).values():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            unfinished = path.with_name(path.name + ".part")
            fs.cp(f"{Planetoid.url}/{path.name}", str(unfinished))
            unfinished.replace(path)
    return folder


def paths(root: Path, name: str) -> dict[str, Path]:
    """Where each part of the graph lies."""
    if name not in NAMES:
        raise UnknownName(f"no citation graph '{name}'; source.name can be {', '.join(NAMES)}")
    return {part: root / name / "raw" / f"ind.{name.lower()}.{part}" for part in PARTS}


def read_parts(root: Path, name: str) -> dict[str, Any]:
    """Every part; all missing files are named at once."""
    files = paths(root, name)
    if missing := [str(path) for path in files.values() if not path.exists()]:
        raise FileNotFoundError(f"{name} lacks {', '.join(missing)}; source.kind=hub fetches them")
    parts = {part: read_pickle(files[part]) for part in PARTS[:-1]}
    return {**parts, "test.index": np.loadtxt(files["test.index"], dtype=np.int64, ndmin=1)}


def word_table(parts: dict[str, Any], position: NDArray[np.int64]) -> pd.DataFrame:
    """A row for each word of each paper, in order."""
    tables = [parts["allx"].rows().tocoo(), parts["tx"].rows().tocoo()]
    below = len(parts["ally"])
    row = np.concatenate([tables[0].row, tables[1].row + below])
    table = pd.DataFrame(
        {
            "node": position[row],
            "feature": np.concatenate([t.col for t in tables]).astype(np.int64),
            "value": np.concatenate([t.data for t in tables]).astype(np.float64),
        }
    )
    return table[table["value"] != 0].sort_values(["node", "feature"], ignore_index=True)


def edge_table(graph: dict[int, list[int]]) -> pd.DataFrame:
    """Each citation once, source < target. The files repeat some, or a paper cites itself."""
    pairs = {(min(a, b), max(a, b)) for a, cited in graph.items() for b in cited if a != b}
    source, target = np.array(sorted(pairs), dtype=np.int64).T
    return pd.DataFrame({"source": source, "target": target, "distance": 1.0})


def case_table(parts: dict[str, Any], position: NDArray[np.int64]) -> pd.DataFrame:
    """The public split: the labelled papers `y`, the 500 after them, those of `test.index`.

    The other papers are nodes without a case: the split gives their labels to nobody.
    """
    one_hot = np.concatenate([parts["ally"], parts["ty"]])  # (rows, K)
    labelled = len(parts["y"])
    split = np.full(len(position), "", dtype=object)
    split[:labelled] = "train"
    split[labelled : labelled + VALIDATION] = "validation"
    split[len(parts["ally"]) :] = "test"
    table = pd.DataFrame(
        {
            "case": position.astype(str),
            "node": position,
            "split": split,
            "target": one_hot.argmax(axis=1),
        }
    )
    return table[table["split"] != ""].sort_values("node", ignore_index=True)


class PickledRows:
    """Takes the place of SciPy's `csr_matrix` in the files: its arrays, none of its code."""

    data: NDArray[np.float32]
    indices: NDArray[np.int32]
    indptr: NDArray[np.int32]
    _shape: tuple[int, int]

    def rows(self) -> csr_array:
        """The matrix, once its indices are known to lie inside it."""
        matrix = csr_array((self.data, self.indices, self.indptr), shape=self._shape)
        matrix.check_format(full_check=True)
        matrix.sum_duplicates()
        return matrix


def make_dtype(code: str, align: int, copy: int) -> np.dtype:
    """NumPy's dtype as a file of 2016 asks for it: with 0 and 1 for false and true."""
    return np.dtype(code, bool(align), bool(copy))


ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): make_dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("scipy.sparse.csr", "csr_matrix"): PickledRows,
    ("collections", "defaultdict"): defaultdict,
    ("__builtin__", "list"): list,
}


class CitationUnpickler(pickle.Unpickler):
    """Reads the six names of ALLOWED, and no persistent ids."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            known = ", ".join(".".join(pair) for pair in ALLOWED)
            raise RefusedPickle(f"it names {module}.{name}, but may only name {known}")
        return ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> NoReturn:
        raise RefusedPickle(f"it names the outside object {pid!r}")


def read_pickle(path: Path) -> Any:
    """One file; raises RefusedPickle, which says which file and what it asked for."""
    with path.open("rb") as file:
        try:
            return CitationUnpickler(file, encoding="latin1").load()
        except RefusedPickle as refused:
            raise RefusedPickle(f"{path} was not read: {refused}") from None
