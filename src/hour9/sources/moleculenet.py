"""Molecules with a measured number or a class, as arrays in one NumPy file: ESOL (Wu et al. 2018).

They are PyG's features of each atom and bond (`torch_geometric.utils.from_smiles`), molecule after
molecule; what they mean stands in ATOM and BOND. `y` is a number to estimate where its type is
floating-point; whole numbers and text are classes. Nothing in the file is unpickled.

smiles.py makes the same arrays of text.
"""

import zlib
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from hour9.sources.splits import MissingFile, at_random, in_folds
from hour9.sources.tudataset import BadFile
from hour9.task import Tables
from hour9.wording import some

ATOM = (
    "element",
    "chirality",
    "degree",
    "charge",
    "hydrogens",
    "radicals",
    "hybridisation",
    "aromatic",
    "ring",
)
BOND = ("order", "stereo", "conjugated")
SAID = {  # what the numbers mean, as far as a picture needs it
    "element": {6: "C", 7: "N", 8: "O", 9: "F", 15: "P", 16: "S", 17: "Cl", 35: "Br", 53: "I"},
    "order": {1: "single", 2: "double", 3: "triple", 12: "aromatic"},
}
DIMENSIONS = {  # of each array; `group` is the same number for the same molecule
    "x": 2,
    "edge_index": 2,
    "edge_attr": 2,
    "node_ptr": 1,
    "edge_ptr": 1,
    "y": 1,
    "group": 1,
}
POINTERS = ("node_ptr", "edge_ptr")  # where each molecule begins, and the last one ends
NUMBERS, TEXT = "biuf", "U"  # NumPy's kinds of types
SHARES = (0.8, 0.1)  # train and validation; the rest is test, as in MoleculeNet


def read_molecules(arrays: dict[str, NDArray], seed: int, fold: int = -1) -> Tables:
    """The tables of one set, split at random by `seed`, or in folds; the same molecule stays in
    one split. A case is named by its `row`, where the arrays have it, or else by its place."""
    target = pd.Series(targets(arrays["y"]))
    count = len(arrays["y"])
    case = arrays.get("row", np.arange(count)).astype(str)
    nodes, edges = np.diff(arrays["node_ptr"]), np.diff(arrays["edge_ptr"])
    ends = arrays["edge_index"]
    once = ends[0] <= ends[1]
    return {
        "nodes": pd.concat(
            [
                pd.DataFrame({"case": case.repeat(nodes), "node": counted(nodes)}),
                columns(arrays["x"], ATOM),
            ],
            axis=1,
        ),
        "edges": pd.concat(
            [
                pd.DataFrame({"case": case.repeat(edges), "source": ends[0], "target": ends[1]}),
                columns(arrays["edge_attr"], BOND),
            ],
            axis=1,
        )[once].reset_index(drop=True),
        "cases": pd.DataFrame(
            {
                "case": case,
                "split": deal(arrays["group"], seed)
                if fold < 0
                else in_folds(target, fold, seed, arrays["group"]),
                "target": target,
            }
        ),
    }


def read_arrays(path: Path) -> dict[str, NDArray]:
    """The arrays, all but `y` of whole numbers, once it is sure that they fit together.

    Raises FileNotFoundError or BadFile.
    """
    arrays = load(path)
    if wrong := malformed(arrays):
        raise BadFile(f"{path}: {'; '.join(wrong)}")
    arrays |= {name: arrays[name].astype(np.int64) for name in DIMENSIONS if name != "y"}
    if wrong := misfits(arrays) or without_way_back(arrays):
        raise BadFile(f"{path}: {'; '.join(wrong)}")
    return arrays


def load(path: Path) -> dict[str, NDArray]:
    """What the file holds under the names of DIMENSIONS."""
    if not path.exists():
        raise MissingFile(f"there is no {path}")
    try:
        with path.open("rb") as packed, NpzFile(packed, allow_pickle=False) as file:
            arrays = {name: file[name] for name in DIMENSIONS if name in file.files}
    except (ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise BadFile(f"{path} is no file of arrays: {error}") from None
    if lacking := sorted(DIMENSIONS.keys() - arrays.keys()):
        raise BadFile(f"{path} lacks the arrays {', '.join(lacking)}")
    return arrays


def malformed(arrays: dict[str, NDArray]) -> list[str]:
    """Arrays of other dimensions, or that hold anything but whole numbers; `y` alone may."""
    wrong = []
    for name, dimensions in DIMENSIONS.items():
        array = arrays[name]
        if array.ndim != dimensions:
            wrong.append(f"{name} has {array.ndim} dimensions where {dimensions} were expected")
        elif array.dtype.kind not in NUMBERS + (TEXT if name == "y" else ""):
            wrong.append(f"{name} holds {array.dtype} where numbers were expected")
        elif name != "y":
            places = np.argwhere(~np.isfinite(array) | (array != np.rint(array)))
            shown = [f"{name}{place.tolist()} is {array[tuple(place)]}" for place in places]
            if shown:
                wrong.append(f"whole numbers were expected, but {some(shown)}")
    return wrong


def misfits(arrays: dict[str, NDArray]) -> list[str]:
    """Pointers that do not rise from 0, or else arrays that are shorter or longer than they say."""
    wrong = []
    for name in POINTERS:
        pointer = arrays[name]
        if pointer[:1].tolist() != [0]:
            wrong.append(f"{name} begins with {pointer[:1].tolist()} where [0] was expected")
        if (falls := np.flatnonzero(np.diff(pointer) < 0) + 1).size:
            wrong.append(f"{name} falls to {pointer[falls[0]]} at [{falls[0]}]")
    if wrong:
        return wrong
    count, nodes, edges = len(arrays["y"]), *(int(arrays[name][-1]) for name in POINTERS)
    wanted = {
        "x": (nodes, len(ATOM)),
        "edge_index": (2, edges),
        "edge_attr": (edges, len(BOND)),
        "node_ptr": (count + 1,),
        "edge_ptr": (count + 1,),
        "group": (count,),
    }
    return [
        f"{name} is {arrays[name].shape} where {shape} was expected"
        for name, shape in wanted.items()
        if arrays[name].shape != shape
    ]


def without_way_back(arrays: dict[str, NDArray]) -> list[str]:
    """Edges that are walked one way only: the other one would be lost without a word."""
    sizes = np.diff(arrays["edge_ptr"])
    molecule, (source, target) = np.arange(len(sizes)).repeat(sizes), arrays["edge_index"]
    walked = pd.MultiIndex.from_arrays([molecule, source, target])
    lost = walked[~walked.isin(pd.MultiIndex.from_arrays([molecule, target, source]))]
    if not len(lost):
        return []
    shown = some([f"{a} → {b} of molecule {m}" for m, a, b in lost])
    return [f"edge_index must have each edge both ways; without a way back: {shown}"]


def targets(y: NDArray) -> NDArray[np.float64] | list[str]:
    """Numbers to estimate, or the names of classes."""
    if y.dtype.kind == "f":
        short = y.dtype.itemsize < 8  # then 0.1 is 0.1, and not 0.10000000149
        return (y.astype(str) if short else y).astype(np.float64)
    return [f"class {label}" for label in y]


def counted(sizes: NDArray) -> NDArray:
    """0, 1, … in each block."""
    return np.arange(sizes.sum()) - (sizes.cumsum() - sizes).repeat(sizes)


def columns(numbers: NDArray, names: tuple[str, ...]) -> pd.DataFrame:
    """A column for each value of each feature, but one for a yes or no, none for a constant."""
    found = {}
    for name, column in zip(names, numbers.T, strict=True):
        values = np.unique(column)
        if values.tolist() == [0, 1]:
            found[name] = column.astype(float)
        elif len(values) > 1:
            said = SAID.get(name, {})
            found |= {f"{name}.{said.get(v, v)}": (column == v) * 1.0 for v in values.tolist()}
    return pd.DataFrame(found)


def columns_like(
    numbers: NDArray, names: tuple[str, ...], wanted: list[str]
) -> NDArray[np.float64]:  # (rows, features) -> (rows, wanted)
    """The columns of these names, as `columns` made them of other molecules.

    Raises ValueError for a value that those had nowhere.
    """
    found: list[NDArray] = []
    unseen: dict[str, set[str]] = {}
    for column in wanted:
        name, one_hot, value = column.partition(".")
        its = numbers[:, names.index(name)]
        if one_hot:
            said = SAID.get(name, {})
            told = np.array([str(said.get(v, v)) for v in its.tolist()], dtype=object)
            its = told == value
            unseen.setdefault(name, {*told}).discard(value)
        found.append(its)
    if lost := [f"{name} {value}" for name, values in unseen.items() for value in sorted(values)]:
        raise ValueError(f"no molecule of the training data had {some(lost)}")
    return np.array(found, float).T.reshape(len(numbers), len(wanted))


def deal(group: NDArray[np.int32], seed: int) -> NDArray[np.object_]:
    """A split for each case, at random, the same for the same group."""
    unique, place = np.unique(group, return_inverse=True)
    return at_random(len(unique), *SHARES, seed)[place]
