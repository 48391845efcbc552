"""Search, on small models with random weights, against every text that could be written."""

from itertools import product

import pytest
import torch

from hour9.transformers.beam import END, LENGTH_POWER, START, beam_search, greedy
from hour9.transformers.seq2seq import Seq2Seq
from hour9.transformers.settings import Seq2SeqSettings

LETTERS = 3  # END and two letters can be written
SOURCE = torch.tensor([[START, 4, 5, 4, END], [START, 5, END, 0, 0]])


def tiny(seed: int) -> Seq2Seq:
    torch.manual_seed(seed)
    settings = Seq2SeqSettings(
        task="t", topic="transformers", parent="x", channels=8, layers=2, heads=2
    )
    model = Seq2Seq(6, settings).eval()
    model.words.weight.data *= 3  # far from even, so that the order of the texts is clear
    return model


def log_probability(model: Seq2Seq, source: torch.Tensor, text: tuple[int, ...]) -> float:
    """Of a text, token by token, without a cache; padding and such can not be written."""
    target = torch.tensor([[START, *text]])
    with torch.no_grad():
        logits = model(source, target)[0, :-1]
    logits[:, [0, 1, 2]] = -torch.inf
    return logits.log_softmax(dim=1).gather(1, target[0, 1:, None]).sum().item()


def trimmed(row: torch.Tensor) -> tuple[int, ...]:
    return tuple(token for token in row.tolist() if token)


@pytest.mark.parametrize("seed", range(4))
def test_a_beam_wide_enough_finds_the_best_of_all_texts(seed):
    model, longest = tiny(seed), 4
    texts = [t for n in range(longest) for t in product((4, 5), repeat=n)]
    whole = [(*t, END) for t in texts] + list(product((4, 5), repeat=longest))
    found = beam_search(model, SOURCE, longest, beams=LETTERS**longest)
    for row in range(2):
        worth = {
            t: log_probability(model, SOURCE[[row]], t) / ((5 + len(t)) / 6) ** LENGTH_POWER
            for t in whole
        }
        assert trimmed(found[row]) == max(worth, key=worth.__getitem__)


@pytest.mark.parametrize("seed", range(4))
def test_one_beam_is_greedy(seed):
    model = tiny(seed)
    first, second = greedy(model, SOURCE, 9), beam_search(model, SOURCE, 9, beams=1)
    assert [trimmed(row) for row in first] == [trimmed(row) for row in second]


def test_greedy_with_its_cache_takes_the_likeliest_token_each_time():
    model = tiny(0)
    written = greedy(model, SOURCE[:1], 9)
    target = torch.cat([torch.tensor([[START]]), written], dim=1)
    with torch.no_grad():
        logits = model(SOURCE[:1], target)[0, :-1]
    logits[:, [0, 1, 2]] = -torch.inf
    assert logits.argmax(dim=1).tolist() == written[0].tolist()


@pytest.mark.parametrize("search", [greedy, lambda *a: beam_search(*a, beams=3)])
def test_a_text_is_translated_alike_alone_and_beside_a_longer_one(search):
    model = tiny(1)
    together, alone = search(model, SOURCE, 9), search(model, SOURCE[1:, :3], 9)
    assert trimmed(together[1]) == trimmed(alone[0])


@pytest.mark.parametrize("search", [greedy, lambda *a: beam_search(*a, beams=3)])
def test_nothing_follows_the_end_and_no_text_is_too_long(search):
    for seed in range(6):
        for row in search(tiny(seed), SOURCE, 7).tolist():
            assert len(row) <= 7
            if END in row:
                assert set(row[row.index(END) + 1 :]) <= {0}
