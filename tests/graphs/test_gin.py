"""PyG's GINConv and GINEConv are the oracles."""

import pytest
import torch
from hypothesis import assume, given
from tests.graphs.test_batches import D, F, joined, lists_of_graphs, one_graph
from torch import nn

from hour9.graphs.batches import Graphs
from hour9.graphs.gin import GIN, GraphIsomorphism

TRIANGLES = [(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5)]
HEXAGON = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (0, 5)]


def network(edge_features: int = 0) -> GIN:
    torch.manual_seed(0)
    shape = {"hidden": 8, "layers": 4, "dropout": 0.0}
    return GIN(F, edge_features, 2, **shape).double().eval()


def walked(graphs: Graphs) -> torch.Tensor:
    row = torch.arange(len(graphs.x)).repeat_interleave(graphs.row.diff())
    return torch.stack([graphs.column.long(), row])


def perceptron(layer: GraphIsomorphism) -> nn.Sequential:
    """The two products of a layer, with their batch norms, of torch's own modules."""
    parts: list[nn.Module] = []
    for ours in (layer.first, layer.second):
        product = nn.Linear(*ours.weight.shape, bias=False)
        product.weight.data = ours.weight.data.T.clone()
        parts += [product, nn.BatchNorm1d(ours.weight.shape[1]), nn.ReLU()]
    return nn.Sequential(*parts).double()


def drawn(edge_features: int = 0) -> GraphIsomorphism:
    layer = GraphIsomorphism(F, 5, edge_features).double()
    for part in (layer.first, layer.second):  # a scale of 1 and a shift of 0 would prove little
        nn.init.normal_(part.scale), nn.init.normal_(part.shift)
    return layer


def taking_over(convolution: nn.Module, layer: GraphIsomorphism) -> nn.Module:
    """PyG draws new weights when it is given a network."""
    convolution.nn = perceptron(layer)
    for ours, norm in ((layer.first, convolution.nn[1]), (layer.second, convolution.nn[4])):
        norm.weight.data, norm.bias.data = ours.scale.data.clone(), ours.shift.data.clone()
    return convolution.double()


def test_a_batch_of_one_node_leaves_the_known_spread_alone():
    layer = drawn().train()
    alone = Graphs.of(
        torch.ones(1, F).double(), torch.tensor([1]), torch.empty(2, 0).long(), torch.empty(0, 0)
    )
    layer(alone.x, alone)
    for part in (layer.first, layer.second):
        assert (part.variance == 1).all()
    assert layer.eval()(alone.x, alone).isfinite().all()


@pytest.mark.parametrize("training", [True, False])
@given(alone=lists_of_graphs())
def test_a_layer_its_gradients_and_its_statistics_equal_pygs(alone, training):
    from torch_geometric.nn import GINConv

    graphs, layer = joined(alone), drawn()
    assume(len(graphs.x) > 1)  # torch's batch norm refuses a batch of one
    theirs = taking_over(GINConv(nn.Identity()), layer).train(training)
    layer.train(training)
    ours, other = (graphs.x.clone().requires_grad_() for _ in range(2))
    found, expected = layer(ours, graphs), theirs(other, walked(graphs))
    torch.testing.assert_close(found, expected)
    found.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(ours.grad, other.grad)
    for part, place in ((layer.first, 0), (layer.second, 3)):
        product, norm = theirs.nn[place], theirs.nn[place + 1]
        torch.testing.assert_close(part.weight.grad, product.weight.grad.T)
        torch.testing.assert_close(part.scale.grad, norm.weight.grad)
        torch.testing.assert_close(part.shift.grad, norm.bias.grad)
        torch.testing.assert_close(part.mean, norm.running_mean)
        torch.testing.assert_close(part.variance, norm.running_var)


@given(lists_of_graphs())
def test_with_edge_features_a_layer_and_its_gradients_equal_pygs(alone):
    from torch_geometric.nn import GINEConv

    graphs, layer = joined(alone), drawn(D).eval()
    theirs = GINEConv(nn.Sequential(nn.Linear(F, 5)), edge_dim=D)
    theirs.lin.load_state_dict(layer.edges.state_dict())
    theirs = taking_over(theirs, layer).eval()
    ours, other = (graphs.x.clone().requires_grad_() for _ in range(2))
    found, expected = layer(ours, graphs), theirs(other, walked(graphs), graphs.edge_x)
    torch.testing.assert_close(found, expected)
    found.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(ours.grad, other.grad)
    torch.testing.assert_close(layer.edges.weight.grad, theirs.lin.weight.grad)


def renamed(graph: Graphs, order: torch.Tensor) -> Graphs:
    """The same graph with its nodes in another order."""
    from tests.graphs.test_batches import once

    edges, edge_x = once(graph)
    return Graphs.of(graph.x[order], graph.start.diff(), order.argsort()[edges], edge_x)


@given(lists_of_graphs())
def test_the_order_of_the_nodes_plays_no_part_and_nor_do_the_other_graphs(alone):
    model = network(D)
    together = model(joined(alone))
    for number, graph in enumerate(alone):
        order = torch.randperm(len(graph.x), generator=torch.Generator().manual_seed(number))
        torch.testing.assert_close(model(renamed(graph, order)), together[[number]])


def test_it_tells_apart_what_colour_refinement_does_and_nothing_else():
    """A hexagon and two triangles look the same from each node, a path and a star do not."""
    model = network()
    star, path = [(0, 1), (0, 2), (0, 3)], [(0, 1), (1, 2), (2, 3)]
    answers = {}
    for name, n, pairs in (
        ("hexagon", 6, HEXAGON),
        ("triangles", 6, TRIANGLES),
        ("star", 4, star),
        ("path", 4, path),
    ):
        graph = one_graph(n, pairs)
        graph.x.fill_(1.0)
        answers[name] = model(graph)
    torch.testing.assert_close(answers["hexagon"], answers["triangles"])
    assert (answers["star"] - answers["path"]).abs().max() > 1e-3
