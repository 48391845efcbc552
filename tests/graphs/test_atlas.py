"""Hückel's energies of small hydrocarbons are in every textbook."""

import numpy as np
import pytest

from hour9.graphs.atlas import ATOMS, BONDS, energy, read_atlas
from hour9.task import Source

SHORT = 1.1  # |β| of a short bond
RING = [(i, (i + 1) % 6) for i in range(6)]
CHAIN = [(0, 1), (1, 2), (2, 3)]


def of_carbon(n: int, edges: list[tuple[int, int]]) -> float:
    ends = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    return energy(np.zeros(n, dtype=np.int64), ends, np.ones(len(edges), dtype=np.int64))


@pytest.mark.parametrize(
    ("name", "n", "edges", "total"),
    [
        ("an atom", 1, [], 0.0),
        ("ethylene", 2, [(0, 1)], 2.0),
        ("allyl", 3, CHAIN[:2], 2 * 2**0.5),
        ("butadiene", 4, CHAIN, 2 * 5**0.5),
        ("cyclobutadiene", 4, [*CHAIN, (0, 3)], 4.0),
        ("benzene", 6, RING, 8.0),
    ],
)
def test_hydrocarbons_have_their_textbook_energy(name, n, edges, total):
    assert of_carbon(n, edges) == pytest.approx(SHORT * total / n, abs=1e-6)


def test_an_atom_alone_gains_nothing_whatever_it_is():
    for kind in range(len(ATOMS)):
        assert energy(np.array([kind]), np.zeros((2, 0), int), np.zeros(0, int)) == 0.0


def test_the_atlas_is_whole_and_the_same_each_time():
    source = Source(root="src/hour9/graphs/atlas.py", size=1252)
    tables, again = read_atlas(source), read_atlas(source)
    for name in tables:
        assert tables[name].equals(again[name])
    sizes = tables["nodes"].groupby("case").size().value_counts().sort_index()
    assert sizes.tolist() == [1, 2, 4, 11, 34, 156, 1044]  # graphs of 1 to 7 nodes (OEIS A000088)
    for name, kinds in (("nodes", ATOMS), ("edges", BONDS)):
        assert (tables[name][list(kinds)].sum(axis=1) == 1).all()
    assert (tables["cases"]["target"] >= -1e-6).all()


def test_more_graphs_than_the_atlas_has_are_refused():
    with pytest.raises(ValueError, match=r"source\.size is 1253, but the atlas has 1,252"):
        read_atlas(Source(root="src/hour9/graphs/atlas.py", size=1253))
