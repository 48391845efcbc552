import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hour9.transformers.attention_numpy import attention, attention_backward, blocked_attention

B, H, T, S, D = 2, 3, 7, 9, 4


def some_heads(queries: int = T, keys: int = S, dtype: str = "float64") -> list[np.ndarray]:
    """Queries, keys and values."""
    chance = np.random.default_rng(0)
    return [chance.standard_normal((B, H, n, D)).astype(dtype) for n in (queries, keys, keys)]


def some_mask() -> np.ndarray:
    """Keys of other lengths in each text, and a query that may look nowhere."""
    mask = np.arange(S) < np.array([5, 9])[:, None, None, None]  # (B, 1, 1, S)
    mask = np.broadcast_to(mask, (B, 1, T, S)).copy()
    mask[1, 0, 2] = False
    return mask


def oracle(q, k, v, mask=None, causal=False) -> torch.Tensor:
    return F.scaled_dot_product_attention(
        *(torch.tensor(x) for x in (q, k, v)),
        attn_mask=None if mask is None else torch.tensor(mask),
        is_causal=causal,
    )


@pytest.mark.parametrize("block", [None, 1, 3, 100])
@pytest.mark.parametrize("case", ["plain", "mask", "causal", "causal and mask", "more keys"])
def test_attention_equals_torch(case, block):
    q, k, v = some_heads(queries=S) if case.startswith("causal") else some_heads()
    mask = np.arange(S) < np.array([5, 9])[:, None, None, None] if "mask" in case else None
    future = np.tri(q.shape[2], S, S - q.shape[2], dtype=bool)
    causal = case in ("causal", "causal and mask", "more keys")
    if causal:  # the last T of S positions
        expected = oracle(q, k, v, future if mask is None else mask & future)
    else:
        expected = oracle(q, k, v, mask)
    if case == "causal":
        torch.testing.assert_close(expected, oracle(q, k, v, causal=True))
    if block is None:
        found = attention(q, k, v, mask, causal)[0]
    else:
        found = blocked_attention(q, k, v, mask, causal, block)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_in_half_precision_sums_over_many_keys_do_not_overflow():
    q, k = np.full((1, 16), 1.1, np.float16), np.full((1024, 16), 1.1, np.float16)
    found = blocked_attention(q, k, np.full((1024, 4), 100, np.float16))
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, 100)


@pytest.mark.parametrize("block", [None, 3])
def test_a_query_that_may_look_nowhere_gets_zeros_as_in_torch(block):
    q, k, v = some_heads()
    mask = some_mask()
    if block is None:
        found = attention(q, k, v, mask)[0]
    else:
        found = blocked_attention(q, k, v, mask, block=block)
    np.testing.assert_allclose(found, oracle(q, k, v, mask), atol=1e-12)
    assert (found[1, :, 2] == 0).all()


def test_weights_are_a_distribution_over_the_visible_keys():
    mask = some_mask()
    weights = attention(*some_heads(), mask)[1]
    np.testing.assert_allclose(weights.sum(axis=-1), mask.any(axis=-1) * np.ones((B, H, T)))
    assert (weights[~np.broadcast_to(mask, weights.shape)] == 0).all()


@pytest.mark.parametrize("causal", [False, True])
def test_gradients_are_those_of_autograd(causal):
    q, k, v = some_heads(queries=S)
    gradient = np.random.default_rng(1).standard_normal(q.shape)
    inputs = [torch.tensor(x, requires_grad=True) for x in (q, k, v)]
    F.scaled_dot_product_attention(*inputs, is_causal=causal).backward(torch.tensor(gradient))
    _, weights = attention(q, k, v, causal=causal)
    for found, x in zip(attention_backward(gradient, q, k, v, weights), inputs, strict=True):
        np.testing.assert_allclose(found, x.grad, atol=1e-12)


@pytest.mark.parametrize("function", [lambda *x: attention(*x)[0], blocked_attention])
def test_scores_too_large_for_an_exponential_do_no_harm(function):
    q, k, v = some_heads(dtype="float32")
    q *= 1000
    found = function(q, k, v)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, oracle(q, k, v), rtol=1e-4, atol=1e-4)


def test_a_few_queries_at_a_time_take_all_that_attention_takes():
    """Whole numbers as a mask, texts that share keys and values, several formats."""
    q, k, v = some_heads()
    mask = some_mask().astype(int)
    for given in (
        (q, k, v, mask),
        (q, k[0], v[:, :1]),
        (q[0, 0], k[0, 0], v[0, 0], mask),
        (q.astype("float32"), k, v),
        (q.astype("float32"), k.astype("float32"), v),
        (q.astype(int), k.astype(int), v.astype(int)),
    ):
        expected, found = attention(*given)[0], blocked_attention(*given, block=3)
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("function", [lambda *x: attention(*x)[0], blocked_attention])
def test_where_there_are_no_keys_every_query_gets_zeros(function):
    assert (function(*some_heads(keys=0)) == np.zeros((B, H, T, D))).all()


def test_inputs_stay_as_they_were():
    heads = some_heads()
    copies = [x.copy() for x in heads]
    attention(*heads, some_mask())
    blocked_attention(*heads, some_mask(), block=3)
    for x, copy in zip(heads, copies, strict=True):
        np.testing.assert_array_equal(x, copy)


@pytest.mark.parametrize("function", [attention, blocked_attention])
def test_a_causal_query_without_its_own_key_is_refused(function):
    with pytest.raises(ValueError, match="got 9 and 7 keys"):
        function(*some_heads(queries=9, keys=7), causal=True)
