import pytest
import torch

from hour9.graphs.gcn import GraphConvolution, normalised_adjacency
from hour9.graphs.sparse import Sparse

PATH = torch.tensor([[0, 1, 2], [1, 2, 3]])  # the path 0 - 1 - 2 - 3


def some_matrix(dtype: torch.dtype = torch.float32) -> tuple[Sparse, torch.Tensor]:
    """A sparse matrix, its entries given in no order, and the same one dense."""
    dense = torch.tensor([[0.0, 2.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0], [5.0, 0.0, 3.0, 0.0]]).to(
        dtype
    )
    row, column = dense.nonzero(as_tuple=True)
    mixed = torch.tensor([2, 0, 3, 1])
    return Sparse.of(row[mixed], column[mixed], dense[row, column][mixed], (3, 4)), dense


def test_a_product_equals_the_dense_one():
    sparse, dense = some_matrix()
    x = torch.randn(4, 5)
    torch.testing.assert_close(sparse @ x, dense @ x)


def test_the_gradient_of_a_product_is_that_of_finite_differences():
    sparse, _ = some_matrix(torch.float64)
    x = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: sparse @ x, x)


def test_a_product_in_a_short_format_keeps_the_format_of_its_gradient():
    sparse, dense = some_matrix()
    x = torch.ones(4, 5, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        (sparse @ x).sum().backward()
    assert x.grad.dtype == torch.bfloat16
    torch.testing.assert_close(x.grad.float(), dense.T @ torch.ones(3, 5))


def test_dropout_zeroes_or_enlarges_the_same_entries_in_the_transpose():
    sparse, dense = some_matrix()
    torch.manual_seed(0)
    dropped = sparse.dropout(0.5, training=True)
    kept = dropped.matrix.dense()
    assert ((kept == 0) | (kept == 2 * dense)).all()  # 2 = 1 / (1 - 0.5): the mean stays
    assert 0 < (kept != 0).sum() < (dense != 0).sum()
    torch.testing.assert_close(dropped.transpose.dense(), kept.T)


def test_dropout_leaves_an_evaluation_alone():
    sparse, _ = some_matrix()
    assert sparse.dropout(0.5, training=False) is sparse


def test_the_adjacency_is_the_papers_formula():
    a = torch.eye(4)  # A + I
    a[PATH[0], PATH[1]] = a[PATH[1], PATH[0]] = 1
    d = a.sum(1).diag().rsqrt().nan_to_num(posinf=0)  # D^-½
    adjacency = normalised_adjacency(PATH, 4)
    torch.testing.assert_close(adjacency.matrix.dense(), d @ a @ d)
    torch.testing.assert_close(adjacency.transpose.dense(), adjacency.matrix.dense())


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")  # PyG's own business
def test_layer_equals_pytorch_geometric():
    from torch_geometric.nn import GCNConv

    ours, theirs, x = GraphConvolution(3, 2), GCNConv(3, 2), torch.randn(4, 3)
    theirs.lin.weight.data = ours.weight.data.T.clone()
    theirs.bias.data = ours.bias.data = torch.randn(2)
    both_ways = torch.cat([PATH, PATH.flip(0)], dim=1)
    expected, found = theirs(x, both_ways), ours(x, normalised_adjacency(PATH, 4))
    torch.testing.assert_close(found, expected)
    expected.square().sum().backward()
    found.square().sum().backward()
    torch.testing.assert_close(ours.weight.grad, theirs.lin.weight.grad.T)


def test_sparse_and_dense_features_give_the_same():
    sparse, dense = some_matrix()
    layer, adjacency = GraphConvolution(4, 2), normalised_adjacency(PATH[:, :2], 3)
    torch.testing.assert_close(layer(sparse, adjacency), layer(dense, adjacency))


def test_renaming_the_nodes_only_renames_the_output():
    layer, x = GraphConvolution(3, 2), torch.randn(4, 3)
    order = torch.tensor([2, 0, 3, 1])  # new node i is old node order[i]
    renamed = normalised_adjacency(order.argsort()[PATH], 4)
    torch.testing.assert_close(
        layer(x[order], renamed), layer(x, normalised_adjacency(PATH, 4))[order]
    )


def test_information_travels_one_edge_per_layer():
    layer, x, adjacency = GraphConvolution(3, 2), torch.randn(4, 3), normalised_adjacency(PATH, 4)
    changed = x.clone()
    changed[3] += 1.0
    moved = (layer(changed, adjacency) != layer(x, adjacency)).any(dim=1)
    assert moved.tolist() == [False, False, True, True]  # node 3 and its neighbour 2
