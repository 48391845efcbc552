import pytest
import torch

from hour9.graphs.gcn import GCN, ROUNDS, normalised_adjacency, smoothed
from hour9.graphs.receptive_field import ReceptiveField
from hour9.graphs.sparse import Sparse

PATH = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]])  # the path 0 - 1 - 2 - 3 - 4
ADJACENCY = normalised_adjacency(PATH, 5)


def seen(x: torch.Tensor) -> ReceptiveField:
    """The whole graph."""
    row, column = x.nonzero(as_tuple=True)
    sparse = Sparse.of(row, column, x[row, column], (x.shape[0], x.shape[1]))
    return ReceptiveField(sparse, [ADJACENCY, ADJACENCY])


def test_the_network_equals_the_papers_formula():
    """Equation 9 in dense matrices, with the biases of the authors' code."""
    model, x, a = GCN(3, 8, 2, 0.5, 0.5).eval(), torch.rand(5, 3), ADJACENCY.matrix.dense()
    model.first.bias.data = torch.randn(8)
    h = (a @ x @ model.first.weight + model.first.bias).relu()
    torch.testing.assert_close(model(seen(x)), a @ h @ model.second.weight + model.second.bias)


def test_a_loop_of_the_graphs_own_counts_once():
    looped = torch.cat([PATH, torch.tensor([[0, 3], [0, 3]])], dim=1)
    found = normalised_adjacency(looped, 5).matrix.dense()
    assert torch.equal(found, ADJACENCY.matrix.dense())


def test_a_node_hears_of_the_nodes_two_edges_away_and_no_further():
    torch.manual_seed(0)
    model, x = GCN(3, 32, 2, 0.5, 0.5).eval(), torch.rand(5, 3)
    changed = x.clone()
    changed[4] += 1.0
    moved = (model(seen(changed)) != model(seen(x))).any(dim=1)
    assert moved.tolist() == [False, False, True, True, True]


@pytest.mark.parametrize("shares", [(0.5, 0.0), (0.0, 0.5)], ids=["features", "hidden"])
def test_each_dropout_varies_in_training_only(shares):
    model, x = GCN(3, 32, 2, *shares), seen(torch.rand(5, 3))
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def test_smoothing_is_the_sum_over_walks_written_out():
    shares, a = torch.rand(5, 2).softmax(1), ADJACENCY.matrix.dense()
    walks = [torch.linalg.matrix_power(0.8 * a, k) for k in range(ROUNDS + 1)]
    expected = (0.2 * sum(walks[:-1]) + walks[-1]) @ shares
    found = smoothed(shares, ADJACENCY, 0.8)
    torch.testing.assert_close(found, expected / expected.sum(1, keepdim=True))
    torch.testing.assert_close(found.sum(1), torch.ones(5))


def test_smoothing_hears_of_the_nodes_ten_edges_away_and_no_further():
    path = torch.stack([torch.arange(12), torch.arange(1, 13)])
    adjacency = normalised_adjacency(path, 13, torch.float64)
    shares = torch.full((13, 2), 0.5, dtype=torch.float64)
    shares[0] = torch.tensor([0.9, 0.1])
    moved = smoothed(shares, adjacency, 0.8)[:, 0] > 0.5 + 1e-12
    assert moved.tolist() == [True] * 11 + [False] * 2


def test_no_smoothing_changes_nothing():
    shares = torch.rand(5, 2).softmax(1)
    torch.testing.assert_close(smoothed(shares, ADJACENCY, 0.0), shares)
