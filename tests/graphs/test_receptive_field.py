"""A part of a graph against the whole of it."""

import numpy as np
import pytest
import torch
from torch import Tensor

from hour9.graphs import receptive_field
from hour9.graphs.gat import GAT
from hour9.graphs.gcn import GCN, normalised_adjacency
from hour9.graphs.mpnn import MPNN, numbered
from hour9.graphs.receptive_field import Network, Rows, Surroundings, layerwise
from hour9.graphs.sparse import Sparse

N, F, K = 60, 7, 3
ASKED = np.array([5, 40, 2])
CPU = torch.device("cpu")


@pytest.fixture(params=["gcn", "gat", "mpnn"])
def pair(request: pytest.FixtureRequest) -> tuple[Network, Surroundings]:
    """A network that drops nothing, and a graph with some nodes that no edge touches."""
    torch.manual_seed(0)
    x = torch.rand(N, F) * (torch.rand(N, F) < 0.4)
    row, column = x.nonzero(as_tuple=True)
    features = Rows.of(Sparse.of(row, column, x[row, column], (N, F)))
    edges = torch.triu(torch.rand(N, N) < 0.03, 1).nonzero().T  # (2, E)
    network = {
        "gcn": GCN(F, 8, K, 0, 0),
        "gat": GAT(F, 4, 2, K, 0, 0, 0),
        "mpnn": MPNN(F, 8, K, 2, 3, 0, 0),
    }[request.param]
    if request.param == "mpnn":
        carried = torch.rand(edges.shape[1], 2)
        return network, Surroundings(features, Rows.of(numbered(edges, N)), carried)
    return network, Surroundings(features, Rows.of(normalised_adjacency(edges, N)))


def everywhere(network: Network, graph: Surroundings) -> Tensor:  # (N, K)
    return network(graph.field(np.arange(N), [0, 0]))


def gradients(network: Network, logits: Tensor) -> list[Tensor]:
    network.zero_grad()
    logits.square().sum().backward()
    return [parameter.grad.clone() for parameter in network.parameters()]


def test_a_step_on_some_nodes_has_the_output_and_the_gradient_of_one_on_the_whole_graph(pair):
    network, graph = pair
    seen = graph.field(ASKED, [0, 0])
    assert seen.x.shape[0] < N
    torch.testing.assert_close(network(seen), everywhere(network, graph)[ASKED])
    expected = gradients(network, everywhere(network, graph)[ASKED])
    torch.testing.assert_close(gradients(network, network(seen)), expected)


def test_layer_by_layer_gives_what_the_whole_graph_gives_at_once(pair, monkeypatch):
    network, graph = pair
    monkeypatch.setattr(receptive_field, "CHUNK", 7)
    torch.testing.assert_close(layerwise(network, graph, CPU), everywhere(network, graph))


def test_as_many_neighbours_as_there_are_is_all_of_them(pair):
    network, graph = pair
    seen = graph.field(ASKED, [N, N], np.random.default_rng(0))
    torch.testing.assert_close(network(seen), everywhere(network, graph)[ASKED])


def test_a_node_that_no_edge_touches_hears_itself_alone(pair):
    network, graph = pair
    alone = int(
        np.flatnonzero(np.diff(graph.adjacency.start) == np.diff(graph.adjacency.start).min())[0]
    )
    seen = graph.field(np.array([alone]), [0, 0])
    assert seen.x.shape[0] == 1
    assert network(seen).isfinite().all()


def test_a_node_hears_itself_and_at_most_so_many_others_all_of_them_neighbours(pair):
    _, graph = pair
    hop, needed = graph.hop(np.arange(N), 2, np.random.default_rng(0))
    assert (needed[:N] == np.arange(N)).all()
    whole = graph.hop(np.arange(N))[0].matrix.dense() != 0
    heard = hop.matrix.dense() != 0
    assert (heard <= whole).all()
    others = heard & ~torch.eye(N, dtype=torch.bool)
    assert others.sum(1).max() == 2
    assert torch.equal(heard.diagonal(), whole.diagonal())


def test_the_first_number_of_neighbours_is_the_first_layers(pair):
    _, graph = pair
    seen = graph.field(np.arange(N), [1, 3], np.random.default_rng(0))
    others = []
    for hop in seen.hops:
        rows = torch.arange(hop.shape[0])
        others.append(int((hop.matrix.dense()[rows] != 0).fill_diagonal_(False).sum(1).max()))
    assert others == [1, 3]


def test_a_sum_over_drawn_neighbours_is_right_on_average():
    """Within five standard errors of the sum over all, at each node and number."""
    torch.manual_seed(0)
    edges = torch.triu(torch.rand(N, N) < 0.2, 1).nonzero().T
    adjacency = normalised_adjacency(edges, N)
    graph = Surroundings(Rows.of(adjacency), Rows.of(adjacency))
    x, draw = torch.rand(N, 2), np.random.default_rng(0)
    many = torch.stack([graph.hop(np.arange(N), 3, draw)[0] @ x for _ in range(400)])
    error = many.std(0) / 400**0.5
    assert ((many.mean(0) - adjacency @ x).abs() < 5 * error + 1e-6).all()


def test_rows_may_be_asked_for_in_any_order_and_lie_on_disk(tmp_path):
    x = torch.tensor([[0.0, 1.0], [0.0, 0.0], [2.0, 3.0]])
    row, column = x.nonzero(as_tuple=True)
    rows = Rows.of(Sparse.of(row, column, x[row, column], (3, 2)))
    mapped = []
    for name in ("start", "column", "value"):
        np.save(tmp_path / f"{name}.npy", getattr(rows, name))
        mapped.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
    assert Rows(*mapped, width=2).part(np.array([2, 1, 0])).matrix.dense().tolist() == [
        [2.0, 3.0],
        [0.0, 0.0],
        [0.0, 1.0],
    ]
