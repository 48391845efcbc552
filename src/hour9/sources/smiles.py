"""Molecules as lines of text (SMILES, Weininger 1988) in a table, as MoleculeNet publishes them.

RDKit reads them, and PyG turns them into the arrays that moleculenet.py describes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hour9.sources.moleculenet import ATOM, BOND, columns_like
from hour9.sources.splits import tell_left_out
from hour9.sources.tudataset import BadFile
from hour9.wording import some

if TYPE_CHECKING:
    from rdkit.Chem import Mol
    from torch_geometric.data import Data

MOLECULES = ("smiles", "mol")
TARGETS = (
    "target",
    "measured log solubility in mols per litre",  # ESOL
    "expt",  # FreeSolv
    "exp",  # Lipophilicity
    "p_np",  # BBBP
    "Class",  # BACE
    "HIV_active",
)
FIRST_LINE = 2  # the first one holds the columns' names
LONGEST = 3000  # characters of a molecule: RDKit goes down with one of 30,000
LEFT_OUT = 0.02  # largest share of lines that RDKit cannot read: BBBP has a few


def read_smiles(path: Path) -> dict[str, NDArray]:
    """The arrays of moleculenet.py, and `row`, the place of each molecule in the table.

    A few lines that hold no molecule are left out, aloud; of more, BadFile names them.
    """
    try:
        from rdkit.Chem import MolFromSmiles, MolToSmiles
        from rdkit.rdBase import BlockLogs
    except ImportError:
        raise BadFile(f"{path}: RDKit reads molecules; run pip install rdkit") from None
    written, y = read_columns(path)
    with BlockLogs():  # it would print each line that it cannot read, and why
        molecules = [MolFromSmiles(text) if len(text) <= LONGEST else None for text in written]
        found = [graph_of(molecule) for molecule in molecules]
    whole = np.array([graph is not None for graph in found])
    wrong = written.index[~whole].tolist()
    if len(wrong) > LEFT_OUT * len(found):
        raise BadFile(
            f"{path}: no molecule that RDKit can read stands in line {some(wrong)}; take them out"
        )
    tell_left_out(path, [f"line {line}" for line in wrong], "RDKit reads no molecule there")
    graphs = [graph for graph in found if graph is not None]
    molecules = [molecule for molecule, kept in zip(molecules, whole, strict=True) if kept]
    return {
        "x": np.concatenate([graph.x.numpy() for graph in graphs]),
        "edge_index": np.concatenate([graph.edge_index.numpy() for graph in graphs], axis=1),
        "edge_attr": np.concatenate([graph.edge_attr.numpy() for graph in graphs]),
        "node_ptr": np.cumsum([0, *(graph.num_nodes for graph in graphs)]),
        "edge_ptr": np.cumsum([0, *(graph.num_edges for graph in graphs)]),
        "row": written.index.to_numpy()[whole] - FIRST_LINE,
        "y": y[whole],
        "group": pd.factorize(np.array([MolToSmiles(molecule) for molecule in molecules]))[0],
    }


def numbers_of(text: str, atoms: list[str], bonds: list[str]) -> tuple[NDArray, NDArray]:
    """A molecule's nodes in these columns; its edges once, source, target and these columns.

    Raises ValueError where it is none, or one like none that the columns come from.
    """
    from rdkit.Chem import MolFromSmiles
    from rdkit.rdBase import BlockLogs

    with BlockLogs():
        graph = graph_of(MolFromSmiles(text) if len(text) <= LONGEST else None)
    if graph is None:
        raise ValueError("RDKit reads no molecule there")
    ends = graph.edge_index.numpy()
    once = ends[0] <= ends[1]
    carried = columns_like(graph.edge_attr.numpy()[once], BOND, bonds)
    return columns_like(graph.x.numpy(), ATOM, atoms), np.hstack([ends[:, once].T, carried])


def graph_of(molecule: Mol | None) -> Data | None:
    """PyG's graph of a molecule; None where there is none, or one that PyG has no numbers for."""
    from torch_geometric.utils.smiles import from_rdmol

    if molecule is None:
        return None
    try:
        graph = from_rdmol(molecule)
    except ValueError:
        return None
    return graph if graph.num_nodes else None


def read_columns(path: Path) -> tuple[pd.Series, NDArray]:
    """The molecules as they are written, by their lines, and what to find of each."""
    try:
        table = pd.read_csv(path, skip_blank_lines=False)
    except ValueError as error:  # pandas' own among them
        raise BadFile(f"{path} is no table: {error}") from None
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes the first fields for names
        raise BadFile(f"{path}: line {FIRST_LINE} has more fields than line 1 has names")
    table.index += FIRST_LINE
    table = table.dropna(how="all")  # blank lines
    names, by_name = [], {str(name).lower(): name for name in table}
    for wanted in (MOLECULES, TARGETS):
        if (
            name := next((by_name[n] for n in map(str.lower, wanted) if n in by_name), None)
        ) is None:
            raise BadFile(
                f"{path} needs a column {' or '.join(wanted)}; it has {', '.join(table.columns)}"
            )
        names.append(name)
        if empty := table.index[table[name].isna()].tolist():
            raise BadFile(f"{path}, column {name}: nothing stands in line {some(empty)}")
    if table.empty:
        raise BadFile(f"{path} holds no molecules")
    y = table[names[1]].to_numpy()
    return table[names[0]].astype(str), y.astype(str) if y.dtype.kind == "O" else y
