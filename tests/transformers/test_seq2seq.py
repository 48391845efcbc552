import pytest
import torch
from torch import nn

from hour9.transformers.dropout import Dropout
from hour9.transformers.load_weights import decoder_layer, encoder_layer
from hour9.transformers.seq2seq import (
    END,
    PAD,
    START,
    UNKNOWN,
    Seq2Seq,
    cross_entropy,
    encode,
    learn_pieces,
    mean_loss,
)
from hour9.transformers.settings import Seq2SeqSettings

SETTINGS = Seq2SeqSettings(
    task="translation", topic="transformers", parent="x", channels=16, layers=2, heads=2
)
SOURCE = torch.tensor([[START, 4, 5, 6, END], [START, 7, END, PAD, PAD]])
TARGET = torch.tensor([[START, 6, 5, 4], [START, 8, 8, 8]])
TEXTS = ["Ein Hund läuft.", "a dog runs", "two dogs run; 両方"]


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Seq2Seq(9, SETTINGS).eval()


def test_it_is_the_transformer_of_torch(model):
    """torch's layers with their weights in ours, under its masks."""
    torch.manual_seed(0)
    like = {"activation": "gelu", "batch_first": True, "norm_first": True}
    encoder = nn.ModuleList(nn.TransformerEncoderLayer(16, 2, 32, 0.0, **like) for _ in range(2))
    decoder = nn.ModuleList(nn.TransformerDecoderLayer(16, 2, 32, 0.0, **like) for _ in range(2))
    model.encoder = nn.ModuleList(encoder_layer(layer) for layer in encoder)
    model.decoder = nn.ModuleList(decoder_layer(layer) for layer in decoder)
    hidden = SOURCE == PAD
    future = torch.ones(4, 4, dtype=torch.bool).triu(1)
    with torch.no_grad():
        memory = model.embed(SOURCE)
        for layer in encoder:
            memory = layer(memory, src_key_padding_mask=hidden)
        memory, out = model.read(memory), model.embed(TARGET)
        for layer in decoder:
            out = layer(out, memory, tgt_mask=future, memory_key_padding_mask=hidden)
        expected = model.written(out) @ model.words.weight.T
        torch.testing.assert_close(model(SOURCE, TARGET), expected)


def test_the_decoder_does_not_see_what_it_has_yet_to_write(model):
    changed = TARGET.clone()
    changed[:, 2:] = 7
    torch.testing.assert_close(model(SOURCE, changed)[:, :2], model(SOURCE, TARGET)[:, :2])


def test_padding_of_the_source_changes_nothing(model):
    alone = model(SOURCE[1:, :3], TARGET[1:])
    torch.testing.assert_close(model(SOURCE, TARGET)[1:], alone)


def test_decoding_step_by_step_with_caches_gives_the_same_logits(model):
    memory, caches, mask = model.encode(SOURCE), model.caches(4, 5), SOURCE != PAD
    steps = [model.decode(TARGET[:, t : t + 1], memory, mask, caches) for t in range(4)]
    torch.testing.assert_close(torch.cat(steps, dim=1), model(SOURCE, TARGET))


@pytest.mark.parametrize("pieces", [0, 300])
def test_texts_come_back_from_their_tokens(pieces):
    tokenizer = learn_pieces(TEXTS, pieces)
    for text, tokens in zip(TEXTS, encode(tokenizer, TEXTS), strict=True):
        assert (tokens[0], tokens[-1]) == (START, END)
        assert tokenizer.decode([token for token in tokens if token > END]).strip() == text


def test_the_same_texts_teach_the_same_pieces():
    first, again = (learn_pieces(TEXTS * 50, 300).to_str() for _ in range(2))
    assert first == again


def test_a_letter_never_seen_is_unknown():
    (tokens,) = encode(learn_pieces(["abc"], 0), ["a%"])
    assert tokens == [START, 4, UNKNOWN, END]


@pytest.mark.parametrize("pieces", [0, 300])
def test_a_mark_in_a_text_is_but_letters(pieces):
    (tokens,) = encode(learn_pieces(["[END]", "x"], pieces), ["[END]"])
    assert (tokens.count(START), tokens.count(END)) == (1, 1)


def test_the_loss_is_of_each_next_token_but_the_padding(model):
    target = torch.tensor([[START, 6, 5, END], [START, 8, END, PAD]])
    rows = [{"source": SOURCE[[i]], "target": target[[i]]} for i in range(2)]
    with torch.no_grad():
        nats = -model(SOURCE, target).log_softmax(dim=2)
        loss, smooth = (
            cross_entropy(model, dict(source=SOURCE, target=target), s) for s in (0, 0.2)
        )
    told = [nats[0, 0, 6], nats[0, 1, 5], nats[0, 2, END], nats[1, 0, 8], nats[1, 1, END]]
    expected = torch.stack(told).mean()
    torch.testing.assert_close(loss, expected)
    of_all = torch.cat([nats[0, :3], nats[1, :2]]).mean()  # tokens alike
    torch.testing.assert_close(smooth, 0.8 * expected + 0.2 * of_all)
    assert mean_loss(model, rows) == pytest.approx(expected.item(), rel=1e-5)


def test_words_and_positions_are_added_and_a_rotation_tells_neighbours_apart(model):
    model.double()
    expected = 4 * model.words(SOURCE) + model.positions(torch.arange(3, 8))  # √C = 4
    torch.testing.assert_close(model.embed(SOURCE, start=3), expected)
    model.positions.frequencies.zero_()  # every place alike
    order = [0, 2, 1, 3, 4]
    memory, swapped = model.encode(SOURCE[:1]), model.encode(SOURCE[:1, order])[:, order]
    assert not torch.allclose(memory, swapped)


def test_the_dropout_of_the_settings_reaches_every_part():
    model = Seq2Seq(9, SETTINGS.model_copy(update={"dropout": 0.3}))
    assert {part.share for part in model.modules() if isinstance(part, Dropout)} == {0.3}
