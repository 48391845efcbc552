"""Search, on small models with random weights, against every text that could be written."""

from itertools import product
from types import SimpleNamespace

import pytest
import torch

from hour9.transformers.attention import KeyValueCache
from hour9.transformers.beam import END, LENGTH_POWER, START, beam_search, greedy, penalty
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


def test_the_length_penalty_is_one_for_a_token_and_grows_with_the_power():
    """((5 + n) / 6)^0.6 (Wu et al. 2016, eq. 14)."""
    assert penalty(torch.tensor([1.0, 7.0])).tolist() == pytest.approx([1, 2**0.6])


class Dice:
    """Stands for a model: the next token depends on every token read and written, as by chance."""

    def __init__(self, seed: int):
        self.seed = seed

    def logits(self, read: list[int], written: list[int]) -> torch.Tensor:
        chance = torch.Generator().manual_seed(hash((self.seed, *read, -1, *written)) % 2**32)
        drawn = 2 * torch.randn(LETTERS + 3, generator=chance)
        drawn[END] -= 2  # texts grow long enough to differ
        return drawn

    def encode(self, source: torch.Tensor) -> torch.Tensor:
        return source

    def caches(self, written: int, read: int) -> list[SimpleNamespace]:
        return [SimpleNamespace(own=KeyValueCache(written))]

    def decode(self, last, memory, mask, caches) -> torch.Tensor:
        tokens = last[:, None, :, None]
        written, _ = caches[0].own.extend(tokens, tokens)  # (B, 1, T, 1)
        rows = zip(memory, mask, written[:, 0, :, 0].tolist(), strict=True)
        return torch.stack([self.logits(m[seen].tolist(), w) for m, seen, w in rows])[:, None]


def searched(model: Dice, source: list[int], longest: int, beams: int) -> tuple[int, ...]:
    """The same search over lists, each text with its whole past."""
    kept = [((), 0.0)]
    for _ in range(longest):
        step = [one for one in kept if END in one[0]]
        for text, total in (one for one in kept if END not in one[0]):
            shares = model.logits(source, [START, *text])[END:].log_softmax(0).tolist()
            step += [((*text, END + i), total + share) for i, share in enumerate(shares)]
        step.sort(key=lambda one: -one[1] / ((5 + len(one[0])) / 6) ** LENGTH_POWER)
        kept = step[:beams]
    return kept[0][0]


@pytest.mark.parametrize("beams", [2, 3, 5])
def test_each_beam_reads_its_own_text_and_goes_on_from_its_own_words(beams):
    for seed in range(10):
        found = beam_search(Dice(seed), SOURCE, 7, beams)
        assert trimmed(found[0]) == searched(Dice(seed), [START, 4, 5, 4, END], 7, beams)
        assert trimmed(found[1]) == searched(Dice(seed), [START, 5, END], 7, beams)
