"""The embedded molecules: every graph of up to seven nodes, with Hückel's energy as the target.

NetworkX's atlas has the graphs (Read & Wilson 1998). Each node becomes an atom and each edge a
bond, drawn by the seed; they need not exist in nature. In Hückel's model of π electrons an atom has
the energy α, a bond the coupling β, and the orbitals' energies are the eigenvalues of the matrix H
of both. The electrons, one an atom, fill the lowest orbitals in pairs. What they gain by leaving
their atoms is the target, an atom's share of it in units of carbon's |β|: it follows from walks
through the whole graph, so counts of atoms and bonds tell a part of it and no more.

Shapes: n atoms, m bonds of one molecule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hour9.params import Refused
from hour9.task import Source, Tables

if TYPE_CHECKING:
    import networkx

ATOMS = {"carbon": (0.0, 0.7), "nitrogen": (0.5, 0.15), "oxygen": (1.0, 0.15)}
"""α - α(carbon) in units of |β| (Streitwieser 1961, rounded), and its share."""

BONDS = {"long": (0.8, 0.5), "short": (1.1, 0.5)}
"""|β| in units of carbon's in benzene, and its share."""


def read_atlas(source: Source) -> Tables:
    """The tables of the first `source.size` graphs, atoms and bonds by `source.seed`."""
    from networkx.generators.atlas import graph_atlas_g

    atlas = graph_atlas_g()[1:]  # the first has no node
    if source.size > len(atlas):
        raise Refused(
            f"source.size is {source.size}, but the atlas has {len(atlas):,} graphs with a node"
        )
    chance = np.random.default_rng(source.seed)
    molecules = [decorate(graph, chance) for graph in atlas[: source.size]]
    atoms, ends, bonds = zip(*molecules, strict=True)
    case = np.array([str(number + 1) for number in range(source.size)])  # its number in the atlas
    return {
        "nodes": pd.DataFrame(
            {
                "case": case.repeat([len(atom) for atom in atoms]),
                "node": np.concatenate([np.arange(len(atom)) for atom in atoms]),
                **one_hot(ATOMS, np.concatenate(atoms)),
            }
        ),
        "edges": pd.DataFrame(
            {
                "case": case.repeat([len(bond) for bond in bonds]),
                **dict(zip(("source", "target"), np.concatenate(ends, axis=1), strict=True)),
                **one_hot(BONDS, np.concatenate(bonds)),
            }
        ),
        "cases": pd.DataFrame(
            {"case": case, "split": "", "target": [energy(*molecule) for molecule in molecules]}
        ),
    }


Molecule = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""(n,) kinds of atoms, (2, m) bonds with source < target, (m,) their kinds."""


def decorate(graph: networkx.Graph, chance: np.random.Generator) -> Molecule:
    """A kind for each of its nodes and edges."""
    pairs = sorted(sorted(edge) for edge in graph.edges())
    ends = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return draw(ATOMS, len(graph), chance), ends, draw(BONDS, len(pairs), chance)


def draw(
    kinds: dict[str, tuple[float, float]], count: int, chance: np.random.Generator
) -> NDArray[np.int64]:  # (count,)
    """The number of a kind for each."""
    return chance.choice(len(kinds), size=count, p=[share for _, share in kinds.values()])


def one_hot(
    kinds: dict[str, tuple[float, float]], numbers: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    return {name: (numbers == kind) * 1.0 for kind, name in enumerate(kinds)}


def energy(atom: NDArray[np.int64], ends: NDArray[np.int64], bond: NDArray[np.int64]) -> float:
    """(Σ over electrons of their orbital's energy - Σ over atoms of α) / n, at least 0."""
    alpha, beta = (np.array([value for value, _ in kind.values()]) for kind in (ATOMS, BONDS))
    hamiltonian = np.diag(alpha[atom])
    hamiltonian[ends[0], ends[1]] = hamiltonian[ends[1], ends[0]] = beta[bond]
    orbitals = np.linalg.eigvalsh(hamiltonian)[::-1]  # the strongest bound first
    n = len(atom)
    electrons = np.clip(n - 2 * np.arange(n), 0, 2)
    gained = electrons @ orbitals - alpha[atom].sum()
    return round(float(gained / n), 6)  # the same on every machine
