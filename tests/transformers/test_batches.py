import numpy as np
import pytest

from hour9.transformers.batches import (
    MARKS,
    buckets,
    collate,
    encode,
    in_order_of_length,
    read_tokenizer,
    train_tokenizer,
)

TEXTS = ["The plot is dull.", "Although the acting felt superb, I found the film very tedious."]


def test_tokens_are_those_of_hugging_face(tiny_bert):
    from transformers import BertTokenizerFast

    theirs = BertTokenizerFast(vocab=str(tiny_bert / "vocab.txt"), do_lower_case=True)
    ours = read_tokenizer(tiny_bert, max_tokens=32)
    assert encode(ours, TEXTS) == theirs(TEXTS)["input_ids"]


def test_a_text_cannot_spell_a_mark(tiny_bert, tmp_path):
    known = read_tokenizer(tiny_bert)
    known.save(str(tmp_path / "tokenizer.json"))
    for tokenizer in (known, read_tokenizer(tmp_path), train_tokenizer(TEXTS, 100, 32)):
        marks = {tokenizer.token_to_id(mark) for mark in MARKS} - {tokenizer.token_to_id("[UNK]")}
        (ids,) = encode(tokenizer, ["dull [MASK][PAD] film [SEP]"])
        assert marks.isdisjoint(ids[1:-1])


def test_long_texts_are_cut(tiny_bert):
    (ids,) = encode(read_tokenizer(tiny_bert, max_tokens=8), TEXTS[1:])
    assert len(ids) == 8


def test_a_saved_tokenizer_cuts_where_it_did(tiny_bert, tmp_path):
    read_tokenizer(tiny_bert, max_tokens=8).save(str(tmp_path / "tokenizer.json"))
    (ids,) = encode(read_tokenizer(tmp_path), TEXTS[1:])
    assert len(ids) == 8


@pytest.fixture(scope="module")
def texts(tables):
    return tables["sentences"]["text"].tolist()


def test_the_same_texts_give_the_same_pieces(texts):
    first, *others = (train_tokenizer(texts, 200, 32).to_str() for _ in range(4))
    assert all(other == first for other in others)


def test_trained_pieces_cover_every_text_and_common_words_are_one_piece(texts):
    tokenizer = train_tokenizer(texts, 300, 64)
    assert tokenizer.get_vocab_size() <= 300
    assert not any("[UNK]" in encoding.tokens for encoding in tokenizer.encode_batch(texts))
    tokens = tokenizer.encode("The film is good").tokens
    assert tokens[:4] == ["[CLS]", "the", "film", "is"]
    assert tokens[-1] == "[SEP]"


def test_every_text_is_in_one_batch_of_texts_about_as_long():
    lengths = np.random.default_rng(0).integers(1, 50, size=203)
    batches = buckets(lengths, 16, (0, 0))
    assert sorted(np.concatenate(batches)) == list(range(203))
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert padded < 1.1 * lengths.sum()


def test_batches_depend_on_seed_and_epoch_alone():
    lengths = [5, 5, 5, 7, 7, 9] * 10
    first, again, next_epoch, next_seed = (
        np.concatenate(buckets(lengths, 4, seed)).tolist()
        for seed in ((0, 0), (0, 0), (0, 1), (1, 0))
    )
    assert first == again
    assert first != next_epoch
    assert first != next_seed


def test_in_order_of_length_means_the_shortest_first():
    batches = in_order_of_length([3, 1, 2, 1], 2)
    assert [batch.tolist() for batch in batches] == [[1, 3], [2, 0]]


def test_padding_is_masked():
    batch = collate([[7, 8, 9], [5]])
    assert batch["tokens"].tolist() == [[7, 8, 9], [5, 0, 0]]
    assert batch["mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_a_saved_tokenizer_that_pads_does_not_pad_here(tiny_bert, tmp_path):
    known = read_tokenizer(tiny_bert)
    expected = encode(known, TEXTS)
    known.enable_padding(length=40)
    known.save(str(tmp_path / "tokenizer.json"))
    assert encode(read_tokenizer(tmp_path), TEXTS) == expected


def test_a_tokenizer_that_tells_capitals_apart_still_does(tiny_bert, tmp_path):
    (tmp_path / "vocab.txt").write_bytes((tiny_bert / "vocab.txt").read_bytes())
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert read_tokenizer(tmp_path).encode("The film").tokens == ["[CLS]", "[UNK]", "film", "[SEP]"]
