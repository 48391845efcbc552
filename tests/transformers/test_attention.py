import math

import pytest
import torch
from torch import Tensor, nn

from hour9.transformers.attention import (
    KeyValueCache,
    MultiHeadAttention,
    attention_maps,
    attention_weights,
)

B, T, S, C, H = 2, 6, 9, 8, 2
PADDING = (torch.arange(T) < torch.tensor([[6], [4]]))[:, None, None, :]  # (B, 1, 1, T)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def make(**options) -> MultiHeadAttention:
    return MultiHeadAttention(C, H, **options).double().eval()


def some(length: int = T) -> Tensor:
    return torch.randn(B, length, C, dtype=torch.float64)


def textbook_attention(layer: MultiHeadAttention, x: Tensor, source: Tensor, mask: Tensor):
    """Equation 1 of the paper, one head at a time and without tricks: the oracle."""
    weights, biases = layer.query_key_value.weight.chunk(3), layer.query_key_value.bias.chunk(3)
    q, k, v = (
        inputs @ w.T + b for inputs, w, b in zip((x, source, source), weights, biases, strict=True)
    )
    heads_out = []
    for qh, kh, vh in zip(*(t.chunk(layer.heads, dim=-1) for t in (q, k, v)), strict=True):
        scores = qh @ kh.transpose(1, 2) / math.sqrt(qh.size(-1))
        heads_out.append(scores.masked_fill(~mask, -math.inf).softmax(dim=-1) @ vh)
    return layer.output(torch.cat(heads_out, dim=-1))


@pytest.mark.parametrize("return_weights", [False, True])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_equals_the_textbook_formula(causal, padded, return_weights):
    layer, x = make(causal=causal), some()
    mask = PADDING if padded else None
    seen = torch.ones(B, T, T, dtype=torch.bool)
    seen = seen.tril() if causal else seen
    seen = seen & PADDING[:, 0] if padded else seen
    found = layer(x, mask=mask, return_weights=return_weights)
    found = found[0] if return_weights else found
    torch.testing.assert_close(found, textbook_attention(layer, x, x, seen))


@pytest.mark.parametrize("causal", [False, True])
def test_attention_equals_torch(causal):
    theirs = nn.MultiheadAttention(C, H, batch_first=True, dtype=torch.float64).eval()
    ours, x = make(causal=causal), some()
    ours.query_key_value.weight.data = theirs.in_proj_weight.data
    ours.query_key_value.bias.data = theirs.in_proj_bias.data.normal_()
    ours.output.load_state_dict(theirs.out_proj.state_dict())
    future = torch.ones(T, T, dtype=torch.bool).triu(1) if causal else None
    expected, weights = theirs(x, x, x, attn_mask=future, average_attn_weights=False)
    torch.testing.assert_close(ours(x), expected)
    torch.testing.assert_close(ours(x, return_weights=True)[1], weights)


@pytest.mark.parametrize("return_weights", [False, True])
def test_cross_attention_asks_one_sequence_about_another(return_weights):
    layer, x, source = make(), some(), some(S)
    found = layer(x, source, return_weights=return_weights)
    found = found[0] if return_weights else found
    everything = torch.ones(B, T, S, dtype=torch.bool)
    torch.testing.assert_close(found, textbook_attention(layer, x, source, everything))


def test_causal_attention_does_not_see_the_future():
    layer, x = make(causal=True), some()
    changed = x.clone()
    changed[:, 4:] = torch.randn(B, 2, C)  # rewrite tokens 4 and 5
    torch.testing.assert_close(layer(changed)[:, :4], layer(x)[:, :4])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_scores_far_below_zero_hide_no_better_than_others(dtype):
    """In half precision, the least number and a score of -100 would be minus infinity."""
    q, k = torch.full((1, 1, 2, 1), -100.0, dtype=dtype), torch.ones(1, 1, 3, 1, dtype=dtype)
    visible = torch.tensor([[True, False, True], [False, False, False]])
    found = attention_weights(q, k, visible)
    torch.testing.assert_close(found.float()[0, 0], torch.tensor([[0.5, 0, 0.5], [0, 0, 0]]))


@pytest.mark.parametrize("return_weights", [False, True])
def test_a_query_that_may_look_nowhere_gets_zeros(return_weights):
    layer = make()
    nowhere = torch.zeros(B, 1, T, T, dtype=torch.bool)
    found = layer(some(), mask=nowhere, return_weights=return_weights)
    found = found[0] if return_weights else found
    torch.testing.assert_close(found, layer.output.bias.expand(B, T, C))  # of the output map


@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("steps", [(6,), (1, 1, 1, 1, 1, 1), (3, 2, 1)])
def test_a_text_read_in_steps_gives_what_it_gives_at_once(steps, padded, rotary):
    layer, x, cache = make(causal=True, rotary=rotary), some(), KeyValueCache(T)
    mask = PADDING.flip(-1) if padded else None  # generation pads on the left
    found, start = [], 0
    for step in steps:
        end = start + step
        seen = None if mask is None else mask[..., :end]
        found.append(layer(x[:, start:end], mask=seen, cache=cache))
        start = end
    torch.testing.assert_close(torch.cat(found, dim=1), layer(x, mask=mask))


def test_a_source_is_read_once():
    layer, x, source, cache = make(), some(2), some(S), KeyValueCache(S)
    first = layer(x[:, :1], source, cache=cache)
    second = layer(x[:, 1:], torch.full_like(source, math.nan), cache=cache)  # not looked at
    torch.testing.assert_close(torch.cat([first, second], dim=1), layer(x, source))


def test_chosen_rows_go_on_as_if_they_had_been_there_from_the_start():
    layer, x, rows = make(causal=True), some(), torch.tensor([1, 1, 0])
    cache = KeyValueCache(T)
    layer(x[:, :4], cache=cache)
    cache.choose(rows)
    found = layer(x[rows, 4:], cache=cache)
    torch.testing.assert_close(found, layer(x[rows])[:, 4:])


def test_dropout_acts_in_training_only():
    layer, x = make(dropout=0.5), some()
    torch.testing.assert_close(layer(x), layer(x), rtol=0, atol=0)
    layer.train()
    assert not torch.equal(layer(x), layer(x))
    assert not torch.equal(layer(x, return_weights=True)[0], layer(x, return_weights=True)[0])


def test_maps_are_the_weights_of_each_attention_and_leave_no_trace():
    model, x = nn.Sequential(make(causal=True), make()), some()
    expected = model[1](model[0](x), return_weights=True)[1]
    maps = attention_maps(model, x)
    assert list(maps) == ["0", "1"]
    torch.testing.assert_close(maps["1"], expected)
    torch.testing.assert_close(maps["0"], maps["0"].tril())
    assert isinstance(model[1](x, return_weights=True), tuple)  # no hook in between


def test_a_full_cache_is_refused():
    with pytest.raises(ValueError, match="holds 5 positions, got 6"):
        make()(some(), cache=KeyValueCache(5))


def test_heads_that_do_not_divide_channels_are_refused():
    with pytest.raises(ValueError, match="channels=8 and heads=3"):
        MultiHeadAttention(channels=8, heads=3)


def test_rotary_heads_of_an_odd_width_are_refused_in_the_users_terms():
    with pytest.raises(ValueError, match="channels=12 and heads=4"):
        MultiHeadAttention(channels=12, heads=4, rotary=True)
