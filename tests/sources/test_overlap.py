"""What is tested was not learned, not even a phrase of it."""

import pandas as pd
import pytest

from hour9.engine.settings import Source
from hour9.sources.overlap import apart, parts_of
from hour9.sources.text import TextRefused, labelled_texts

HELD_OUT = ["It 's a charming, often affecting journey .", "Bad."]


@pytest.mark.parametrize(
    ("text", "is_part"),
    [
        ("often affecting", True),
        ("a Charming , often", True),  # neither case nor punctuation counts
        ("it 's a charming , often affecting journey", True),
        ("bad", True),
        ("a affecting", False),  # not next to each other
        ("journey affecting", False),  # not in this order
        ("harming", False),  # not a whole word
        ("journey bad", False),  # of two texts
        ("a charming, often affecting journey indeed", False),  # more than a part
        ("...", False),
    ],
)
def test_a_part_is_words_in_order_and_next_to_each_other(text, is_part):
    assert parts_of([text, "unheard of"], HELD_OUT) == [is_part, False]


def test_only_training_texts_are_left_out():
    splits = ["train", "validation", "train", "test", "train"]
    texts = ["often affecting", HELD_OUT[0], "a dull film", "dull", "dull"]
    kept = apart(pd.DataFrame({"text": texts, "split": splits}))
    assert kept["text"].tolist() == [HELD_OUT[0], "a dull film", "dull"]
    assert kept["split"].tolist() == ["validation", "train", "test"]


def test_a_source_says_how_many_it_left_out(tmp_path, capsys):
    (tmp_path / "train.tsv").write_text("often affecting\t1\na dull film\t0\nbad\t0\n")
    (tmp_path / "dev.tsv").write_text(f"{HELD_OUT[0]}\t1\nnot a dull plot\t0\n")
    (tmp_path / "test.tsv").write_text("all bad\t0\ngood\t1\n")
    source = Source(kind="path", root=str(tmp_path), apart=True)
    texts = labelled_texts(source)
    assert texts.query("split == 'train'")["text"].tolist() == ["a dull film"]
    assert "2 of 3 training texts" in capsys.readouterr().err
    assert len(labelled_texts(source.model_copy(update={"apart": False}))) == 7


def test_texts_without_splits_cannot_be_kept_apart(tmp_path):
    path = tmp_path / "all.tsv"
    path.write_text("good\t1\nbad\t0\n")
    with pytest.raises(TextRefused, match="apart"):
        labelled_texts(Source(kind="path", root=str(path), apart=True))


def test_every_text_that_shares_a_word_is_looked_at():
    assert parts_of(["a dull film"], ["A film, a dull one.", "It is a dull film."]) == [True]
