"""Dropout: the right share, the rest scaled, gradients where values are kept, repeatable."""

import pytest
import torch

from hour9.transformers.dropout import Dropout, dropout

VALUES = 100_000


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_share_of_the_values_is_dropped_and_the_rest_is_scaled(share):
    torch.manual_seed(0)
    found = dropout(torch.ones(VALUES), share)
    kept = found[found != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - share)), rtol=1e-4, atol=0)
    deviation = (share * (1 - share) / VALUES) ** 0.5
    assert abs(1 - len(kept) / VALUES - share) < 4 * deviation


def test_neighbours_are_dropped_independently():
    """Four values share a draw: each as often as the others, and no two more often together."""
    torch.manual_seed(0)
    dropped = (dropout(torch.ones(VALUES, 4), 0.5) == 0).double()  # (VALUES, 4)
    both = dropped.T @ dropped / VALUES
    expected = torch.full((4, 4), 0.25).fill_diagonal_(0.5).double()
    torch.testing.assert_close(both, expected, rtol=0, atol=4 * 0.5 / VALUES**0.5)


def test_what_is_dropped_gets_no_gradient():
    x = torch.ones(3, 7, requires_grad=True)
    y = dropout(x, 0.5)
    y.sum().backward()
    assert torch.equal(x.grad, y)


def test_the_same_seed_drops_the_same():
    found = [dropout(torch.ones(99), 0.3) for _ in range(2) if torch.manual_seed(7)]
    assert torch.equal(*found)


def test_half_precision_stays_and_all_of_its_values_are_of_two_kinds():
    found = dropout(torch.ones(999, dtype=torch.bfloat16), 0.1)
    assert found.dtype == torch.bfloat16
    assert len(found.unique()) == 2


def test_a_model_that_answers_drops_nothing():
    x = torch.randn(5)
    assert Dropout(0.5).eval()(x) is x
    assert dropout(x, 0.0) is x
