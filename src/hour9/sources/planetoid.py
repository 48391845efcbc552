"""The citation graphs Cora, CiteSeer and PubMed with their public split (Yang et al. 2016).

Their files are pickles, and a pickle runs whatever it names. These are read by an unpickler that
knows the few names they need and refuses every other.

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

from hour9.sources.splits import MissingFile, raw_of
from hour9.sources.tudataset import BadFile, read_numbers
from hour9.task import Tables, UnknownName
from hour9.wording import some

NAMES = ("Cora", "CiteSeer", "PubMed")
WORDS = ("x", "tx", "allx")  # sparse matrices, a row for each paper
CLASSES = ("y", "ty", "ally")  # one-hot, a row for each paper
PARTS = (*WORDS, *CLASSES, "graph", "test.index")
AS_LONG = (("x", "y"), ("allx", "ally"), ("tx", "ty", "test.index"))
AS_WIDE = (WORDS, CLASSES)
VALIDATION = 500
MOST_NODES = 10_000_000
DOWNLOADS = Path(".hour9/downloads/planetoid")


class RefusedPickle(ValueError):  # noqa: N818 - reads as a sentence where it is raised
    """A pickle names something that a citation graph has no need of."""


def read_planetoid(root: Path, name: str) -> Tables:
    """The tables of one citation graph from the files in `root`/`name`, or in its folder raw.

    `labels` has the class of every paper that has a row, also of those without a case.
    Raises UnknownName, FileNotFoundError, RefusedPickle or BadFile.
    """
    parts = read_parts(root, name)
    test = parts["test.index"]
    known = np.arange(len(parts["ally"]))
    position = np.concatenate([known, test])  # node of each row of `allx` and `ally`, `tx` and `ty`
    labels = label_table(parts, position)
    nodes = np.arange(position.max() + 1)  # CiteSeer: some stand in no file but the graph
    return {
        "nodes": pd.DataFrame({"node": nodes}),
        "features": word_table(parts, position),
        "edges": edge_table(paths(root, name)["graph"], parts["graph"], len(nodes)),
        "cases": case_table(parts, labels),
        "labels": labels,
    }


def download(name: str, folder: Path = DOWNLOADS) -> Path:
    """Fetch the files by PyG's own downloader, from its own address; return the root to read from.

    PyG's dataset class itself is not used: it would unpickle what it fetched.
    """
    from torch_geometric.datasets import Planetoid
    from torch_geometric.io import fs

    (folder / name / "raw").mkdir(parents=True, exist_ok=True)
    for path in paths(folder, name).values():
        if not path.exists():
            unfinished = path.with_name(path.name + ".part")
            fs.cp(f"{Planetoid.url}/{path.name}", str(unfinished))
            unfinished.replace(path)
    return folder


def paths(root: Path, name: str) -> dict[str, Path]:
    """Where each part of the graph lies."""
    if name not in NAMES:
        raise UnknownName(f"no citation graph '{name}'; source.name can be {', '.join(NAMES)}")
    folder = raw_of(root / name, lambda file: file.startswith("ind."))
    return {part: folder / f"ind.{name.lower()}.{part}" for part in PARTS}


def read_parts(root: Path, name: str) -> dict[str, Any]:
    """Every part; all missing files are named at once, and so is all that does not fit together."""
    files = paths(root, name)
    if missing := [str(path) for path in files.values() if not path.exists()]:
        raise MissingFile(f"{name} lacks {', '.join(missing)}; source.kind=hub fetches them")
    parts: dict[str, Any] = {part: read_words(files[part]) for part in WORDS}
    parts |= {part: read_classes(files[part]) for part in CLASSES}
    parts["graph"] = read_graph(files["graph"])
    parts["test.index"] = read_numbers(files["test.index"], int)[:, 0]
    if wrong := misfits(parts):
        raise BadFile(f"{files['graph'].parent}: {'; '.join(wrong)}")
    for part in CLASSES:
        refuse_unless_one_hot(files[part], parts[part])
    return parts


def read_words(path: Path) -> csr_array:
    """The words of some papers, a row each."""
    found = read_pickle(path)
    if not isinstance(found, PickledRows):
        raise BadFile(f"{path}: expected a csr_matrix, got {type(found).__name__}")
    try:
        return found.rows()
    except (AttributeError, TypeError, ValueError) as error:
        raise BadFile(f"{path}: {error}") from None


def read_classes(path: Path) -> NDArray:  # (rows, K)
    """The classes of some papers, a row each."""
    found = read_pickle(path)
    if not isinstance(found, np.ndarray) or found.ndim != 2 or found.dtype.kind not in "biuf":
        got = f"{found.dtype} {found.shape}" if isinstance(found, np.ndarray) else type(found)
        raise BadFile(f"{path}: expected a row for each paper, a column for each class, got {got}")
    return found


def read_graph(path: Path) -> dict[Any, list[Any]]:
    """The papers that each paper cites."""
    found = read_pickle(path)
    if not isinstance(found, dict) or not all(isinstance(cited, list) for cited in found.values()):
        raise BadFile(f"{path}: expected a dict with a list for each node")
    return found


def refuse_unless_one_hot(path: Path, classes: NDArray) -> None:
    """Raise BadFile unless each row is a 1 among zeros."""
    right = ((classes != 0).sum(axis=1) == 1) & ((classes == 1).sum(axis=1) == 1)
    if (rows := np.flatnonzero(~right)).size:
        shown = some([f"row {row} {classes[row].tolist()}" for row in rows])
        raise BadFile(f"{path}: expected one 1 among zeros in each row, got {shown}")


def misfits(parts: dict[str, Any]) -> list[str]:
    """Files that differ in how many papers, words or classes they have, and papers with two rows.

    `ally` and `allx` begin with the papers of `y` and `x`, and all of theirs come before the test.
    """
    wrong = []
    for axis, (what, groups) in enumerate((("rows", AS_LONG), ("columns", AS_WIDE))):
        for group in groups:
            sizes = {part: parts[part].shape[axis] for part in group}
            if len(set(sizes.values())) > 1:
                got = ", ".join(f"{part} ({size})" for part, size in sizes.items())
                wrong.append(f"expected as many {what} in {got}")
    labelled, known = len(parts["y"]), len(parts["ally"])
    if labelled > known:
        wrong.append(f"expected y to be a part of ally, got {labelled} and {known} rows")
    test = pd.Series(parts["test.index"])
    again = test[test.duplicated() | ~test.between(known, MOST_NODES)].unique()
    if again.size:
        wrong.append(
            f"test.index: expected each node once, from {known} to {MOST_NODES}, got {some(again)}"
        )
    return wrong


def word_table(parts: dict[str, Any], position: NDArray[np.int64]) -> pd.DataFrame:
    """A row for each word of each paper, in order."""
    tables = [parts["allx"].tocoo(), parts["tx"].tocoo()]
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


def edge_table(path: Path, graph: dict[Any, list[Any]], count: int) -> pd.DataFrame:
    """Each citation once, source < target. The files repeat some, or a paper cites itself."""
    ends = [(a, b) for a, cited in graph.items() for b in cited]
    lost = [pair for pair in ends if not all(type(n) is int and 0 <= n < count for n in pair)]
    if lost:
        raise BadFile(f"{path}: expected edges between nodes 0 to {count - 1}, got {some(lost)}")
    pairs = {(min(pair), max(pair)) for pair in ends if pair[0] != pair[1]}
    if not pairs:
        raise BadFile(f"{path}: no edge joins two nodes")
    source, target = np.array(sorted(pairs), dtype=np.int64).T
    return pd.DataFrame({"source": source, "target": target, "distance": 1.0})


def label_table(parts: dict[str, Any], position: NDArray[np.int64]) -> pd.DataFrame:
    one_hot = np.concatenate([parts["ally"], parts["ty"]])  # (rows, K)
    return pd.DataFrame({"node": position, "target": one_hot.argmax(axis=1)})


def case_table(parts: dict[str, Any], labels: pd.DataFrame) -> pd.DataFrame:
    """The public split: the labelled papers `y`, the 500 after them, those of `test.index`.

    The other papers are nodes without a case: the split gives their labels to nobody.
    """
    labelled, node = len(parts["y"]), labels["node"].to_numpy()
    split = np.full(len(node), "", dtype=object)
    split[:labelled] = "train"
    split[labelled : labelled + VALIDATION] = "validation"
    split[len(parts["ally"]) :] = "test"
    table = pd.DataFrame(
        {
            "case": node.astype(str),
            "node": node,
            "split": split,
            "target": labels["target"],
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
    # The same, as NumPy 2, SciPy 1.8 and Python 3 call them: where files were written again.
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("scipy.sparse._csr", "csr_matrix"): PickledRows,
    ("builtins", "list"): list,
}


class CitationUnpickler(pickle.Unpickler):
    """Reads the names of ALLOWED, and no persistent ids."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            known = ", ".join(".".join(pair) for pair in ALLOWED)
            raise RefusedPickle(f"it names {module}.{name}, but may only name {known}")
        return ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> NoReturn:
        raise RefusedPickle(f"it names the outside object {pid!r}")


def read_pickle(path: Path) -> Any:
    """One file; raises RefusedPickle, which says what it asked for, or BadFile."""
    with path.open("rb") as file:
        try:
            return CitationUnpickler(file, encoding="latin1").load()
        except RefusedPickle as refused:
            raise RefusedPickle(f"{path} was not read: {refused}") from None
        except Exception as error:  # a broken pickle may raise any
            raise BadFile(f"{path} is no whole pickle ({error}); fetch it again") from None
