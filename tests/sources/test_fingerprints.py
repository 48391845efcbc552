"""What counts as the same case: whatever does not change what it shows."""

import networkx as nx
import numpy as np
import pytest

from hour9.sources.fingerprints import (
    LONGEST_WALK,
    closed_walks,
    of_graphs,
    of_images,
    of_texts,
)


def test_texts_without_a_word_differ_by_their_signs():
    found = of_texts(cases=list("abcd"), texts=["😀", "😡!!", "...", "..."])
    assert found["fingerprint"].nunique() == 3


@pytest.mark.parametrize("length", [32, 40, 50])  # words
def test_every_text_of_which_a_word_was_changed_is_a_twin(length):
    """Three triples of each of the two differ, so that 0.81 to 0.88 of all are the same."""
    random = np.random.default_rng(0)
    texts = random.integers(0, 5000, (100, length)).astype(str)
    changed = texts.copy()
    changed[:, length // 2] = "other"
    found = of_texts(range(200), map(" ".join, np.concatenate([texts, changed])))
    of_case = found.groupby("case")["fingerprint"].agg(set)
    assert all(of_case[n] & of_case[n + 100] for n in range(100))
    assert not any(of_case[n] & of_case[n + 1] for n in range(99))


@pytest.mark.parametrize(("length", "alike"), [(28, False), (29, True)])
def test_texts_are_twins_from_four_fifths_of_all_triples_on(length, alike):
    """Of 26 triples each, 23 are the same of 29; of 27 each, 24 of 30."""
    random = np.random.default_rng(0)
    texts = random.permuted(np.tile(np.arange(100), (20, 1)), axis=1)[:, :length].astype(str)
    changed = texts.copy()
    changed[:, length // 2] = "other"
    found = of_texts(range(40), map(" ".join, np.concatenate([texts, changed])))
    of_case = found.groupby("case")["fingerprint"].agg(set)
    assert [bool(of_case[n] & of_case[n + 20]) for n in range(20)] == [alike] * 20


def test_a_picture_is_the_same_wherever_it_stands_and_however_bright_it_is():
    random = np.random.default_rng(0)
    image = np.zeros((10, 10, 1), np.uint8)
    image[2:6, 3:7] = random.integers(1, 4, (4, 4, 1)) * 60
    moved = np.roll(image, (3, -2), axis=(0, 1))
    other = image.copy()
    other[3, 3] = 255 - other[3, 3]
    prints = of_images("abcd", np.stack([image, moved, (image * 0.5).astype(np.uint8), other]))
    first, *rest = prints["fingerprint"]
    assert [one == first for one in rest] == [True, True, False]


def test_a_picture_on_a_brighter_ground_is_the_same_and_one_of_a_single_colour_is_a_picture():
    random = np.random.default_rng(0)
    red = np.zeros((2, 10, 10, 3), np.uint8)
    red[:, 2:6, 3:7, 0] = random.integers(1, 4, (2, 4, 4)) * 60
    prints = of_images("abcd", np.concatenate([red, red + np.uint8(40)]))["fingerprint"].tolist()
    assert prints[:2] == prints[2:]
    assert prints[0] != prints[1]


def test_plain_images_have_a_fingerprint_too():
    of_images("ab", np.stack([np.zeros((4, 4, 3)), np.full((4, 4, 3), 7.0)]))


def fingerprint(graph: nx.Graph, nodes: np.ndarray) -> str:
    edges = np.array(graph.edges, int).reshape(-1, 2).T
    return of_graphs(["g"], [(nodes, edges, np.ones((edges.shape[1], 1)))])["fingerprint"][0]


def test_a_graph_is_the_same_whatever_its_nodes_are_called():
    graph = nx.gnm_random_graph(9, 14, seed=0)
    nodes = np.random.default_rng(0).integers(0, 3, (9, 2)).astype(float)
    order = np.random.default_rng(1).permutation(9)  # node i is called order[i] now
    renamed = nx.relabel_nodes(graph, dict(enumerate(order.tolist())))
    assert fingerprint(renamed, nodes[np.argsort(order)]) == fingerprint(graph, nodes)
    assert fingerprint(graph, nodes[::-1]) != fingerprint(graph, nodes)


def test_graphs_that_differ_in_what_their_edges_carry_are_told_apart():
    """A path of four nodes: the odd edge in its middle, at its end, and at its other end."""
    edges, nodes = np.array([[0, 1, 2], [1, 2, 3]]), np.ones((4, 1))
    carried = np.array([[[1.0], [2.0], [1.0]], [[2.0], [1.0], [1.0]], [[1.0], [1.0], [2.0]]])
    middle, end, other_end = of_graphs("abc", [(nodes, edges, x) for x in carried])["fingerprint"]
    assert middle != end == other_end


@pytest.mark.parametrize("size", [1, 2, 9, 40])
def test_closed_walks_are_the_traces_of_the_powers(size):
    graph = nx.gnm_random_graph(size, 2 * size, seed=0)
    matrix = nx.to_numpy_array(graph, dtype=int)
    traces = [np.trace(np.linalg.matrix_power(matrix, n)) for n in range(2, LONGEST_WALK + 1)]
    assert closed_walks(size, np.array(graph.edges, int).reshape(-1, 2).T) == traces


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (nx.complete_bipartite_graph(3, 3), nx.circular_ladder_graph(3)),  # both 3-regular
        (nx.cycle_graph(6), nx.disjoint_union(nx.cycle_graph(3), nx.cycle_graph(3))),
    ],
    ids=["regular", "cycles"],
)
def test_graphs_that_look_alike_to_message_passing_are_told_apart(one, other):
    same = np.ones((6, 1))
    assert fingerprint(one, same) != fingerprint(other, same)
