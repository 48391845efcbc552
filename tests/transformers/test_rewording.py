"""Rewording: words for near words, and nothing else."""

import numpy as np
import pytest
import torch
from tokenizers import BertWordPieceTokenizer

from hour9.transformers import rewording
from hour9.transformers.batches import MARKS, encode, read_tokenizer
from hour9.transformers.rewording import NEAR, neighbours, reworded, spliced

TEXTS = ["The plot is dull.", "The acting felt superb, the film very tedious."] * 5


@pytest.fixture
def tokenizer(tiny_bert):
    return read_tokenizer(tiny_bert, 32)


@pytest.fixture
def vectors(tokenizer):
    return torch.randn(tokenizer.get_vocab_size(), 8, generator=torch.Generator().manual_seed(0))


def test_the_nearest_words_are_those_of_the_smallest_angle(tokenizer, vectors):
    number = tokenizer.token_to_id("dull")
    twin = tokenizer.token_to_id("superb")
    vectors[twin] = 7 * vectors[number]  # the same direction, another length
    near = neighbours([number], vectors, tokenizer)[number]
    assert near[0] == twin
    assert number not in near
    assert len(near) == NEAR


def test_a_vocabulary_with_few_words_has_no_near_ones(vectors):
    for words in (["dull", "fine", "7"], ["7"]):
        vocabulary = {piece: number for number, piece in enumerate([*MARKS, *words])}
        few = BertWordPieceTokenizer(vocabulary)
        assert neighbours([*vocabulary.values()], vectors, few) == {}


def test_half_of_the_texts_end_as_another_does(tokenizer):
    tokens = encode(tokenizer, TEXTS * 20)
    texts = spliced(tokens, np.random.default_rng(0))
    changed = [text for text in texts if list(text) not in tokens]
    assert 0.1 < len(changed) / len(tokens) < 0.5  # some are spliced to what they were
    assert max(map(len, texts)) == max(map(len, tokens))
    begins = {tuple(text[:n]) for text in tokens for n in range(1, len(text))}
    ends = {tuple(text[n:]) for text in tokens for n in range(1, len(text))}
    for text in map(tuple, texts):
        assert any(text[:n] in begins and text[n:] in ends for n in range(1, len(text)))
    assert spliced([], np.random.default_rng(0)) == []


def test_frame_and_marks_stay_and_some_words_change(tokenizer, vectors, monkeypatch):
    monkeypatch.setattr(rewording, "SPLICED", 0.0)
    tokens = encode(tokenizer, TEXTS)
    copies = reworded(tokens, vectors, tokenizer, seed=0)
    assert [len(copy) for copy in copies] == [len(text) for text in tokens]
    pairs = [pair for text, copy in zip(tokens, copies, strict=True)
             for pair in zip(text, copy, strict=True)]  # fmt: skip
    changed = [(old, new) for old, new in pairs if old != new]
    assert 0 < len(changed) < len(pairs)
    for old, new in changed:
        assert tokenizer.id_to_token(old).isalpha()
        assert tokenizer.id_to_token(new).isalpha()


def test_the_same_seed_rewords_the_same_way(tokenizer, vectors):
    tokens = encode(tokenizer, TEXTS)
    first, again, other = (reworded(tokens, vectors, tokenizer, seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other
