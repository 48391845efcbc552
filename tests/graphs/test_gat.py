import torch

from hour9.graphs.edge_weights import incoming
from hour9.graphs.gat import GAT, GraphAttention
from hour9.graphs.gcn import normalised_adjacency
from hour9.graphs.receptive_field import ReceptiveField
from hour9.graphs.sparse import Sparse

PATH = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4]])  # the path 0 - 1 - 2 - 3 - 4
NEIGHBOURS = normalised_adjacency(PATH, 5)


def seen(x: torch.Tensor) -> ReceptiveField:
    """The whole graph."""
    row, column = x.nonzero(as_tuple=True)
    sparse = Sparse.of(row, column, x[row, column], (x.shape[0], x.shape[1]))
    return ReceptiveField(sparse, [NEIGHBOURS, NEIGHBOURS])


def network(**dropout: float) -> GAT:
    torch.manual_seed(0)
    shares = {"feature_dropout": 0.0, "hidden_dropout": 0.0, "attention_dropout": 0.0, **dropout}
    return GAT(features=3, channels=8, heads=4, classes=2, **shares)


def test_only_the_pattern_of_the_neighbours_counts():
    layer, x = GraphAttention(3, 2, heads=4), torch.rand(5, 3)
    loops = torch.arange(5).expand(2, -1)
    edges = torch.cat([PATH, PATH.flip(0), loops], dim=1)
    torch.testing.assert_close(layer(x, NEIGHBOURS), layer(x, incoming(edges, 5)))


def test_without_scores_attention_is_the_mean_over_neighbours():
    layer, x = GraphAttention(3, 2, heads=1), torch.rand(5, 3)
    layer.score_to.data.zero_()
    layer.score_of.data.zero_()
    closed = (NEIGHBOURS.matrix.dense() != 0).float()  # A + I
    mean = closed / closed.sum(1, keepdim=True)
    torch.testing.assert_close(layer(x, NEIGHBOURS), mean @ x @ layer.weight)


def test_a_head_does_not_see_the_others():
    layer, x = GraphAttention(3, 2, heads=4), torch.rand(5, 3)
    before = layer(x, NEIGHBOURS)
    layer.weight.data[:, 2:4] += 1  # the second head's
    moved = (layer(x, NEIGHBOURS) != before).any(dim=0)
    assert moved.tolist() == [False, False, True, True, False, False, False, False]


def test_a_node_hears_of_the_nodes_two_edges_away_and_no_further():
    model, x = network().eval(), torch.rand(5, 3)
    changed = x.clone()
    changed[4] += 1.0
    moved = (model(seen(changed)) != model(seen(x))).any(dim=1)
    assert moved.tolist() == [False, False, True, True, True]


def test_each_dropout_varies_in_training_only():
    x = seen(torch.rand(5, 3))
    for name in ("feature_dropout", "hidden_dropout", "attention_dropout"):
        model = network(**{name: 0.5})
        assert not torch.equal(model(x), model(x)), name
        model.eval()
        assert torch.equal(model(x), model(x)), name


def test_neighbours_are_dropped_in_both_layers():
    model = network(attention_dropout=0.5)
    for layer in (model.first, model.second):
        x = torch.rand(5, len(layer.weight))
        assert not torch.equal(layer(x, NEIGHBOURS), layer(x, NEIGHBOURS))


def test_the_network_is_two_layers_with_an_elu_between():
    model, x = network().eval(), torch.rand(5, 3)
    h = model.first(x, NEIGHBOURS)
    expected = model.second(torch.where(h > 0, h, h.exp() - 1), NEIGHBOURS)
    torch.testing.assert_close(model(seen(x)), expected)


def test_dropped_neighbours_leave_the_mean_of_many_trainings_alone():
    """Those that stay count 1 / (1 - share) times: on average nothing changes."""
    torch.manual_seed(0)
    layer, x = GraphAttention(3, 2, heads=1, dropout=0.5), torch.rand(5, 3)
    many = torch.stack([layer(x, NEIGHBOURS) for _ in range(500)])
    error = many.std(0) / 500**0.5
    assert ((many.mean(0) - layer.eval()(x, NEIGHBOURS)).abs() < 5 * error).all()
