import networkx as nx
import numpy as np
import pytest
import torch

from hour9.graphs.gae import (
    GAE,
    adamic_adar,
    best_threshold,
    common_neighbours,
    number,
    products,
    unjoined,
)
from hour9.graphs.gcn import normalised_adjacency
from hour9.graphs.receptive_field import ReceptiveField

N = 20


@pytest.fixture
def graph() -> nx.Graph:
    return nx.gnp_random_graph(N, 0.3, seed=0)


def edges(graph: nx.Graph) -> np.ndarray:
    return np.array(graph.edges, dtype=np.int64).T


def test_the_counts_equal_networkx(graph):
    pairs = np.array(list(nx.non_edges(graph)), dtype=np.int64).T
    expected = [score for *_, score in nx.adamic_adar_index(graph, pairs.T)]
    np.testing.assert_allclose(adamic_adar(edges(graph), N, pairs), expected)
    expected = [len(list(nx.common_neighbors(graph, *pair))) for pair in pairs.T]
    np.testing.assert_array_equal(common_neighbours(edges(graph), N, pairs), expected)


def test_unjoined_pairs_are_pairs_without_an_edge_each_once(graph):
    free = N * (N - 1) // 2 - graph.number_of_edges()
    pairs = unjoined(edges(graph), N, free, np.random.default_rng(0))
    assert set(number(pairs, N)) == {min(p) * N + max(p) for p in nx.non_edges(graph)}
    assert len(pairs.T) == free


def test_more_unjoined_pairs_than_there_are_cannot_be_drawn(graph):
    with pytest.raises(ValueError, match="too dense: of 1000 pairs without an edge that"):
        unjoined(edges(graph), N, 1000, np.random.default_rng(0))


def test_the_threshold_tells_most_apart_and_never_cuts_between_equals():
    scores = np.array([0.0, 3.0, 1.0, 1.0, 2.0])
    assert best_threshold(scores, np.array([0, 1, 0, 1, 1])) in (0.5, 1.5)  # four of five
    assert best_threshold(scores, np.array([0, 1, 0, 0, 1])) == 1.5  # all
    assert best_threshold(scores, np.ones(5, np.int64)) < 0
    assert best_threshold(scores, np.zeros(5, np.int64)) > 3


def test_all_embeddings_are_of_one_length_and_products_are_theirs():
    torch.manual_seed(0)
    path = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]])
    adjacency = normalised_adjacency(path, 5)
    model = GAE(3, 8, 4, 0, 0)
    z = model(ReceptiveField(torch.rand(5, 3), [adjacency, adjacency]))
    torch.testing.assert_close(z.norm(dim=1), torch.full((5,), 2.0))
    torch.testing.assert_close(products(z, path), (z @ z.T)[tuple(path)])
