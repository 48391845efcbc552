import pytest
import torch

from hour9.graphs.edge_weights import incoming
from hour9.graphs.mpnn import MPNN, EdgeConvolution, numbered
from hour9.graphs.receptive_field import ReceptiveField

EDGES = torch.tensor([[2, 0, 1], [1, 1, 0]])


def test_the_layer_equals_the_papers_formula():
    """A matrix for each edge, written out: what the layer never builds."""
    layer, x, edge_x = EdgeConvolution(3, 2, 4, units=5), torch.rand(3, 3), torch.randn(3, 4)
    expected = x @ layer.root + layer.bias
    for (source, target), carried in zip(EDGES.T, edge_x, strict=True):
        units = layer.units(carried).relu()
        matrix = layer.matrices[-1] + sum(
            u * a for u, a in zip(units, layer.matrices, strict=False)
        )
        expected[target] = expected[target] + x[source] @ matrix
    torch.testing.assert_close(layer(x, incoming(EDGES, 3), edge_x), expected)


def test_what_an_edge_carries_changes_its_target_alone():
    torch.manual_seed(0)
    layer, x, edge_x = EdgeConvolution(3, 2, 4, units=5), torch.rand(3, 3), torch.randn(3, 4)
    changed = edge_x.clone()
    changed[0] += 1  # the edge 2 → 1
    pattern = incoming(EDGES, 3)
    moved = (layer(x, pattern, changed) != layer(x, pattern, edge_x)).any(dim=1)
    assert moved.tolist() == [False, True, False]


def test_a_node_without_edges_hears_itself_only():
    layer, x, edge_x = EdgeConvolution(3, 2, 4, units=5), torch.rand(3, 3), torch.randn(3, 4)
    alone = x[2] @ layer.root + layer.bias
    torch.testing.assert_close(layer(x, incoming(EDGES, 3), edge_x)[2], alone)


def test_an_edge_is_walked_both_ways_and_carries_the_same_either_way():
    pattern = numbered(torch.tensor([[0, 0, 1], [1, 2, 3]]), 4).matrix
    found = zip(pattern.row.tolist(), pattern.column.tolist(), pattern.value.tolist(), strict=True)
    assert list(found) == [(0, 1, 0), (0, 2, 1), (1, 0, 0), (1, 3, 2), (2, 0, 1), (3, 1, 2)]


def star(leaves: int) -> tuple[ReceptiveField, torch.Tensor]:
    """Node 0 amid leaves that are all alike, seen whole; and the nodes' features."""
    edges = torch.stack([torch.zeros(leaves, dtype=torch.long), torch.arange(1, leaves + 1)])
    x, hop = torch.tensor([[0.3, 0.9], *[[0.7, 0.2]] * leaves]), numbered(edges, leaves + 1)
    return ReceptiveField(x, [hop, hop], torch.full((leaves, 3), 0.5)), x


def network(feature_dropout: float = 0.0, hidden_dropout: float = 0.0) -> MPNN:
    torch.manual_seed(0)
    return MPNN(2, 8, 2, 3, 4, feature_dropout, hidden_dropout)


def test_a_hub_of_the_network_hears_the_mean_of_its_neighbours():
    few, many = (network().eval()(star(leaves)[0]) for leaves in (2, 9))
    torch.testing.assert_close(few[:2], many[:2])


def test_the_network_is_two_rounds_of_hearing_after_a_dense_layer_each_cut_at_0():
    (seen, x), model = star(3), network().eval()
    h = (x @ model.first.weight + model.first.bias).relu()
    h = model.second(h, seen.hops[0], seen.edge_x).relu()
    torch.testing.assert_close(model(seen), model.third(h, seen.hops[1], seen.edge_x))


@pytest.mark.parametrize(("layer", "shares"), [(0, (0.5, 0.0)), (0, (0.0, 0.5)), (1, (0.0, 0.5))])
def test_each_dropout_varies_in_training_only(layer, shares):
    model, seen = network(*shares), star(3)[0]
    x = torch.rand(4, 8) if layer else seen.x

    def heard() -> torch.Tensor:
        return model.step(layer, x, seen.hops[layer], seen.edge_x)

    assert not all(torch.equal(heard(), heard()) for _ in range(8))
    model.eval()
    assert torch.equal(heard(), heard())
