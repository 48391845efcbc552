import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from hour9.transformers.attention import KeyValueCache
from hour9.transformers.layers import (
    DecoderCache,
    DecoderLayer,
    EncoderLayer,
    FeedForward,
    LayerShape,
    Residual,
    Transformer,
    TransformerShape,
    mean_of_tokens,
)

B, T, S, C = 2, 6, 9, 8
LAYER = LayerShape(channels=C, heads=2, hidden=12)
GPT = TransformerShape(words=20, context=10, layers=2, layer=LAYER, causal=True)
BERT = replace(GPT, layer=replace(LAYER, norm_first=False), causal=False, segments=2)
ROTARY = replace(GPT, layer=replace(LAYER, rotary=True), positions="rotary")
TOKENS = torch.tensor([[3, 1, 4, 1, 5, 9], [2, 6, 5, 3, 5, 8]])


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def some(length: int = T) -> Tensor:
    return torch.randn(B, length, C)


def build(shape: TransformerShape) -> Transformer:
    """In double precision, and with weights large enough to matter."""
    model = Transformer(shape).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model


def test_where_the_norm_stands():
    x, twice = some(), lambda x: 2 * x
    before, after = Residual(LAYER), Residual(replace(LAYER, norm_first=False))
    torch.testing.assert_close(before(x, twice), x + 2 * before.norm(x))
    torch.testing.assert_close(after(x, twice), after.norm(3 * x))


def test_pre_norm_leaves_a_free_way_through_all_layers():
    layer = EncoderLayer(LAYER)
    for last in (layer.attention.output, layer.feed_forward.narrow):
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    x = some()
    torch.testing.assert_close(layer(x), x)


def test_the_feed_forward_network_thinks_of_each_token_alone():
    network, x = FeedForward(LAYER), some()
    torch.testing.assert_close(network(x)[:, 2:3], network(x[:, 2:3]))


def test_an_encoder_layer_does_not_know_the_order_of_its_tokens():
    layer, x, order = EncoderLayer(LAYER), some(), torch.randperm(T)
    torch.testing.assert_close(layer(x[:, order]), layer(x)[:, order])


def test_the_mean_of_padding_alone_is_zero():
    mask = torch.tensor([[True, True], [False, False]])[:, None, None, :]
    found = mean_of_tokens(torch.ones(2, 2, 3), mask)
    assert found[:, 0].tolist() == [[1.0] * 3, [0.0] * 3]


@pytest.mark.parametrize("norm_first", [True, False])
def test_a_decoder_layer_reads_in_steps_what_it_reads_at_once(norm_first):
    layer = DecoderLayer(replace(LAYER, norm_first=norm_first)).double()
    x, source = some().double(), some(S).double()
    visible = torch.arange(S) < torch.tensor([5, 9])[:, None, None, None]  # (B, 1, 1, S)
    cache = DecoderCache(KeyValueCache(T), KeyValueCache(S))
    steps = [layer(x[:, t : t + 1], source, None, visible, cache) for t in range(T)]
    torch.testing.assert_close(torch.cat(steps, dim=1), layer(x, source, source_mask=visible))


def test_a_decoder_layer_sees_its_past_and_the_visible_source_alone():
    layer, x, source = DecoderLayer(LAYER), some(), some(S)
    visible = (torch.arange(S) < 5)[None, None, None]  # (1, 1, 1, S)
    expected = layer(x, source, source_mask=visible)
    x[:, 4:], source[:, 5:] = torch.randn(B, 2, C), torch.randn(B, 4, C)
    torch.testing.assert_close(layer(x, source, source_mask=visible)[:, :4], expected[:, :4])
    source[:, :5] = torch.randn(B, 5, C)
    assert not torch.allclose(layer(x, source, source_mask=visible)[:, :4], expected[:, :4])


@pytest.mark.parametrize("shape", [GPT, BERT, ROTARY, replace(GPT, positions="sinusoidal")])
def test_padding_changes_no_state(shape):
    model = build(shape)
    mask = torch.tensor([[1, 1, 1, 1, 0, 0]] * B)
    torch.testing.assert_close(model(TOKENS, mask)[:, :4], model(TOKENS[:, :4]))


@pytest.mark.parametrize("shape", [GPT, ROTARY, replace(GPT, positions="sinusoidal")])
def test_a_cached_text_gives_the_same_states(shape):
    model = build(shape)
    caches = model.caches()
    found = [model(TOKENS[:, a:b], caches=caches) for a, b in ((0, 3), (3, 4), (4, 6))]
    torch.testing.assert_close(torch.cat(found, dim=1), model(TOKENS))


@pytest.mark.parametrize("shape", [GPT, ROTARY, replace(GPT, positions="sinusoidal")])
def test_the_order_of_the_words_matters(shape):
    model = build(shape)
    swapped = TOKENS[:, [1, 0, 2, 3, 4, 5]]
    assert not torch.allclose(model(swapped)[:, -1], model(TOKENS)[:, -1])


@pytest.mark.parametrize("norm_first", [False, True])
def test_asked_once_a_layer_answers_the_mean_of_the_tokens_as_if_it_were_one_of_them(norm_first):
    layer = EncoderLayer(replace(LAYER, norm_first=norm_first)).double()
    x = torch.ones(B, T, 1, dtype=torch.float64) * torch.randn(B, 1, C, dtype=torch.float64)
    alike = layer(x)  # all tokens are their mean, and ask the same
    torch.testing.assert_close(layer.ask_once(x), alike[:, 0])

    x = torch.randn(B, T, C, dtype=torch.float64)
    asking = x.mean(dim=1, keepdim=True)
    attention, norm = layer.attention, layer.around_attention.norm
    if norm_first:
        asking = asking + attention(norm(asking), norm(x))
    else:
        asking = norm(asking + attention(asking, x))
    expected = layer.around_feed_forward(asking, layer.feed_forward)[:, 0]
    torch.testing.assert_close(layer.ask_once(x), expected)


@pytest.mark.parametrize("norm_first", [False, True])
def test_padding_is_no_part_of_a_summary(norm_first):
    model = build(replace(BERT, layer=replace(LAYER, norm_first=norm_first)))
    mask = torch.ones_like(TOKENS)
    mask[:, 4:] = 0
    padded, short = (
        model.summary(model.below(model.embed(tokens), seen), seen)
        for tokens, seen in ((TOKENS, mask), (TOKENS[:, :4], None))
    )
    torch.testing.assert_close(padded, short)


@pytest.mark.parametrize("shape", [GPT, replace(ROTARY, causal=False)])
def test_what_is_no_encoder_sums_nothing_up(shape):
    with pytest.raises(ValueError, match="only an encoder sums a text up"):
        build(shape).summary(some().double())


def test_segments_tell_two_texts_in_one_row_apart():
    model = build(BERT)
    torch.testing.assert_close(model(TOKENS, segments=torch.zeros_like(TOKENS)), model(TOKENS))
    assert not torch.allclose(model(TOKENS, segments=torch.ones_like(TOKENS)), model(TOKENS))


def test_a_new_model_finds_every_word_about_as_likely():
    model = Transformer(replace(GPT, words=1000, layer=LayerShape(64, 4, 256))).eval()
    loss = nn.functional.cross_entropy(model.logits(model(TOKENS)).mT, TOKENS + 100)
    assert loss.item() == pytest.approx(math.log(1000), rel=0.05)


def test_dropout_acts_in_training_only():
    model = Transformer(replace(GPT, layer=replace(LAYER, dropout=0.5))).eval()
    torch.testing.assert_close(model(TOKENS), model(TOKENS), rtol=0, atol=0)
    model.train()
    assert not torch.equal(model(TOKENS), model(TOKENS))


def test_a_text_beyond_the_context_is_refused():
    with pytest.raises(ValueError, match="reads 10 tokens, got 11"):
        Transformer(GPT)(torch.zeros(1, 11, dtype=torch.long))


def test_rotary_positions_without_rotary_layers_are_refused():
    with pytest.raises(ValueError, match="got 'rotary' and False"):
        Transformer(replace(GPT, positions="rotary"))


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("which", ["dropout", "attention_dropout"])
def test_each_kind_of_dropout_acts_in_a_layer_in_training_only(which, norm_first):
    shape = replace(LAYER, norm_first=norm_first, **{which: 0.5})
    x, source = some(), some(S)
    encoder, decoder = EncoderLayer(shape), DecoderLayer(shape)
    nn.init.zeros_(decoder.attention.output.weight)  # what is left is the cross-attention's
    nn.init.zeros_(decoder.feed_forward.narrow.weight)
    assert not torch.equal(encoder(x), encoder(x))
    assert not torch.equal(decoder(x, source), decoder(x, source))
    encoder.eval(), decoder.eval()
    assert torch.equal(encoder(x), encoder(x))
    assert torch.equal(decoder(x, source), decoder(x, source))
