"""PyG's GINConv and GINEConv are the oracles."""

import pytest
import torch
from hypothesis import assume, given
from tests.graphs.test_batches import D, F, joined, lists_of_graphs, one_graph
from torch import nn

from hour9.graphs.batches import Graphs
from hour9.graphs.gin import GIN, GraphIsomorphism, ReadOut

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


def test_two_of_a_graph_are_read_out_as_twice_the_one():
    one, two = one_graph(3, [(0, 1), (1, 2)]), one_graph(6, [(0, 1), (1, 2), (3, 4), (4, 5)])
    two.x.copy_(one.x.repeat(2, 1))
    model = network()
    answers = [model(graph) - model.output.bias for graph in (one, two)]
    torch.testing.assert_close(2 * answers[0], answers[1])


@given(lists_of_graphs())
def test_the_gradient_of_the_read_out_is_that_of_the_sums_written_out(alone):
    graphs = joined(alone)
    parts = [graphs.x[:, :width].clone().requires_grad_() for width in (1, F)]
    sizes = graphs.start.diff().tolist()
    expected = torch.stack([x.sum(0) for x in torch.cat(parts, dim=1).split(sizes)])
    found = ReadOut.apply(graphs, *parts)
    torch.testing.assert_close(found, expected)
    slopes = [torch.autograd.grad(y.pow(3).sum(), parts) for y in (found, expected)]
    torch.testing.assert_close(*slopes)


def test_dropout_varies_in_training_only():
    model, graph = GIN(F, 0, 2, hidden=8, layers=2, dropout=0.5).double(), one_graph(3, [(0, 1)])
    assert not torch.equal(model(graph), model(graph))
    model.eval()
    assert torch.equal(model(graph), model(graph))


def test_the_network_hears_of_every_layers_sum_over_the_graph():
    graph, model = one_graph(6, [(i, i + 1) for i in range(5)]), network()
    h, sums = graph.x, [graph.x.sum(0)]
    for layer in model.layers:
        h = layer(h, graph)
        sums.append(h.sum(0))
    torch.testing.assert_close(model(graph)[0], model.output(torch.cat(sums)))


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
