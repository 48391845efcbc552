"""Molecules with a measured number, as arrays in one NumPy file: ESOL (Wu et al. 2018).

The file holds PyG's features of each atom and bond (`torch_geometric.utils.from_smiles`), molecule
after molecule; what they mean stands in ATOM and BOND. Nothing in it is unpickled.
"""

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hour9.sources.tudataset import BadFile
from hour9.task import Tables

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
SHARES = (0.8, 0.1)  # train and validation; the rest is test, as in MoleculeNet


def read_molecules(path: Path, seed: int) -> Tables:
    """The tables of one set, split at random by `seed`; the same molecule stays in one split.

    Raises FileNotFoundError or BadFile.
    """
    arrays = read_arrays(path)
    count = len(arrays["y"])
    case = np.arange(count).astype(str)
    nodes, edges = np.diff(arrays["node_ptr"]), np.diff(arrays["edge_ptr"])
    ends = arrays["edge_index"].astype(np.int64)
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
                "split": deal(arrays["group"], seed),
                "target": arrays["y"].astype(np.float64).round(6),
            }
        ),
    }


def read_arrays(path: Path) -> dict[str, NDArray]:
    """The arrays, once it is sure that they fit together."""
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}")
    try:
        with np.load(path, allow_pickle=False) as file:
            if lacking := sorted(DIMENSIONS.keys() - set(file.files)):
                raise BadFile(f"{path} lacks the arrays {', '.join(lacking)}")
            arrays = {name: file[name] for name in DIMENSIONS}
    except (ValueError, BadZipFile, EOFError) as error:
        raise BadFile(f"{path} is no file of arrays: {error}") from None
    count = len(arrays["y"])
    wanted = {
        "x": (int(arrays["node_ptr"][-1]), len(ATOM)),
        "edge_index": (2, int(arrays["edge_ptr"][-1])),
        "edge_attr": (int(arrays["edge_ptr"][-1]), len(BOND)),
        "node_ptr": (count + 1,),
        "edge_ptr": (count + 1,),
        "group": (count,),
    }
    wrong = [
        f"{name} is {arrays[name].shape} where {shape} was expected"
        for name, shape in wanted.items()
        if arrays[name].shape != shape
    ]
    if wrong:
        raise BadFile(f"{path}: {'; '.join(wrong)}")
    return arrays


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


def deal(group: NDArray[np.int32], seed: int) -> NDArray[np.object_]:
    """A split for each case, at random, the same for the same group."""
    unique, place = np.unique(group, return_inverse=True)
    chance = np.random.default_rng(seed).permutation(len(unique)) / len(unique)
    train, validation = SHARES
    split = np.select(
        [chance < train, chance < train + validation], ["train", "validation"], "test"
    )
    return split.astype(object)[place]
