"""Products with learnt weights against the same written densely, values and gradients."""

import pytest
import torch

from hour9.graphs.edge_weights import Heads, PairSums, Shares, WeightedSums, incoming

EDGES = torch.tensor([[1, 0, 2, 2, 3], [0, 1, 1, 2, 0]])  # no edge leads into node 3
PATTERN = incoming(EDGES, 4)
HEADS = Heads.of(PATTERN, 2)
NUMBERS = PATTERN.matrix.value  # which edge each entry is


def drawn(*shape: int) -> torch.Tensor:
    torch.manual_seed(sum(shape))
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def dense(weight: torch.Tensor) -> torch.Tensor:  # (H Z,) -> (H, N, N)
    """The heads' matrices, filled in from the edges."""
    found = weight.new_zeros(2, 4, 4)
    source, target = EDGES[:, NUMBERS]
    found[:, target, source] = weight.view(2, -1)
    return found


def test_the_entries_of_a_row_are_its_incoming_edges():
    assert EDGES[1, NUMBERS].tolist() == [0, 0, 1, 1, 2]
    assert EDGES[0, NUMBERS].tolist() == [1, 3, 0, 2, 2]


def test_a_weighted_sum_equals_the_dense_product():
    weight, x = drawn(10), drawn(8, 3)
    found = WeightedSums.of(HEADS, weight, x)
    torch.testing.assert_close(found.view(2, 4, 3), dense(weight) @ x.view(2, 4, 3))


def test_shares_equal_the_dense_softmax_and_a_node_without_edges_has_none():
    scores = drawn(10)
    holes = torch.full((2, 4, 4), -torch.inf, dtype=torch.float64)
    source, target = EDGES[:, NUMBERS]
    holes[:, target, source] = scores.view(2, -1)
    expected = holes.softmax(-1).nan_to_num(0)
    torch.testing.assert_close(dense(Shares.of(HEADS, scores)), expected)


def test_shares_survive_scores_that_would_overflow():
    scores = torch.tensor([1e4, 1e4, -1e4, -1e4, 0.0]).repeat(2)
    share = Shares.of(HEADS, scores)
    assert share.tolist() == [0.5, 0.5, 0.5, 0.5, 1.0] * 2


def test_pair_sums_add_what_the_target_and_the_source_have():
    to, of = drawn(8), drawn(8)
    source, target = EDGES[:, NUMBERS]
    expected = to.view(2, 4)[:, target] + of.view(2, 4)[:, source]
    torch.testing.assert_close(PairSums.of(HEADS, to, of), expected.flatten())


def test_the_gradients_are_those_of_finite_differences():
    assert torch.autograd.gradcheck(
        lambda w, x: WeightedSums.of(HEADS, w, x), (drawn(10), drawn(8, 3))
    )
    assert torch.autograd.gradcheck(lambda s: Shares.of(HEADS, s), drawn(10))
    assert torch.autograd.gradcheck(lambda a, b: PairSums.of(HEADS, a, b), (drawn(8), drawn(8)))


@pytest.mark.parametrize(
    ("function", "shapes"),
    [(PairSums, [(8,), (8,)]), (Shares, [(10,)]), (WeightedSums, [(10,), (8, 3)])],
)
def test_a_short_format_is_widened_and_has_its_gradient_back(function, shapes):
    values = [drawn(*shape).detach().bfloat16().requires_grad_() for shape in shapes]
    with torch.autocast("cpu", torch.bfloat16):
        found = function.of(HEADS, *values)
    torch.testing.assert_close(found, function.of(HEADS, *(value.float() for value in values)))
    found.sum().backward()
    assert all(value.grad.dtype == torch.bfloat16 for value in values)
