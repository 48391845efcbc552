"""PyG's Set2Set is the oracle of the read-out; that of the edge network stands in test_pyg."""

import pytest
import torch
from hypothesis import given
from tests.graphs.test_batches import D, F, joined, lists_of_graphs, one_graph
from tests.graphs.test_gin import renamed

from hour9.graphs.set_to_set import SetToSet, SetToSetMPNN


def network() -> SetToSetMPNN:
    torch.manual_seed(0)
    shape = {"hidden": 6, "units": 4, "rounds": 2, "turns": 3, "dropout": 0.0}
    return SetToSetMPNN(F, D, 2, **shape).double().eval()


@given(lists_of_graphs())
def test_the_read_out_and_its_gradient_equal_pygs(alone):
    from torch_geometric.nn import Set2Set

    ours, theirs = SetToSet(F, turns=3).double(), Set2Set(F, processing_steps=3).double()
    theirs.lstm.load_state_dict({f"{k}_l0": v for k, v in ours.ask.state_dict().items()})
    graphs = joined(alone)
    graph = torch.arange(len(graphs)).repeat_interleave(graphs.start.diff())
    x, other = (graphs.x.clone().requires_grad_() for _ in range(2))
    found, expected = ours(x, graphs)[0], theirs(other, graph)
    torch.testing.assert_close(found, expected)
    found.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(x.grad, other.grad)


@given(lists_of_graphs())
def test_the_order_of_the_nodes_plays_no_part_and_nor_do_the_other_graphs(alone):
    model = network()
    together = model(joined(alone))
    for number, graph in enumerate(alone):
        order = torch.randperm(len(graph.x), generator=torch.Generator().manual_seed(number))
        torch.testing.assert_close(model(renamed(graph, order)), together[[number]])


def test_two_of_a_graph_are_read_out_as_one_by_attention_and_as_two_by_the_network():
    one, two = one_graph(3, [(0, 1), (1, 2)]), one_graph(6, [(0, 1), (1, 2), (3, 4), (4, 5)])
    two.x.copy_(one.x.repeat(2, 1))
    two.edge_x.copy_(one.edge_x.repeat(2, 1))
    model = network()
    answers = [model.read(model.nodes(graph), graph)[0] for graph in (one, two)]
    torch.testing.assert_close(*answers)
    assert (model(one) - model(two)).abs().max() > 1e-3


@given(lists_of_graphs())
def test_the_attention_of_each_graph_sums_to_one(alone):
    graphs = joined(alone)
    share = network().attention(graphs)
    assert (share > 0).all()
    ones = torch.ones(len(graphs), 1, dtype=torch.float64)
    torch.testing.assert_close(graphs.members @ share[:, None], ones)


def test_a_node_hears_as_many_edges_far_as_there_are_rounds():
    path = [(i, i + 1) for i in range(4)]
    graph, changed, model = one_graph(5, path), one_graph(5, path), network()
    changed.x[0] += 1
    moved = (model.nodes(changed) != model.nodes(graph)).any(dim=1)
    assert moved.tolist() == [True, True, True, False, False]


def test_a_node_whose_gate_is_shut_keeps_what_it_knew():
    graph, model = one_graph(3, [(0, 1), (1, 2)]), network()
    model.keep.bias_ih.data[6:12] = 100  # of the GRU's update gate: z is 1
    torch.testing.assert_close(model.nodes(graph), model.embed(graph.x).relu())


@pytest.mark.parametrize("part", ["hidden", "output"])
def test_dropout_before_each_layer_of_the_read_out_varies_in_training_only(part):
    model, graph = network().train(), one_graph(3, [(0, 1), (1, 2)])
    model.dropout = 0.5
    zeros: list[int] = []
    layer = getattr(model, part)
    layer.register_forward_pre_hook(lambda _, inputs: zeros.append(int((inputs[0] == 0).sum())))
    for _ in range(8):
        model(graph)
    assert len(set(zeros)) > 1
    model.eval()
    zeros.clear()
    for _ in range(8):
        model(graph)
    assert len(set(zeros)) == 1
