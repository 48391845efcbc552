import torch

from hour9.graphs.edge_weights import incoming
from hour9.graphs.mpnn import EdgeConvolution

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
