import pandas as pd
import pytest

from hour9.engine.settings import Source
from hour9.sources.text import TextRefused
from hour9.transformers.passages import (
    LONGEST,
    documents,
    file_passages,
    language_reference,
    passages,
    review_passages,
)

TEXT = "".join(f"Line {i} of a play.\n" for i in range(500))


def test_a_file_is_cut_into_passages_and_nothing_is_lost(tmp_path):
    (tmp_path / "play.txt").write_text(TEXT)
    cases = file_passages(Source(kind="path", root=str(tmp_path / "play.txt")))["cases"]
    assert "".join(cases["target"]) == TEXT
    assert cases["target"].str.len().max() <= LONGEST
    assert "".join(documents(cases, "train")) == TEXT[: round(0.8 * len(TEXT))]
    assert cases["split"].drop_duplicates().tolist() == ["train", "validation", "test"]


def test_a_passage_ends_with_a_line_where_there_is_one():
    whole = passages("play", "train", TEXT)["target"]
    assert whole.str.endswith("\n").all()
    endless = passages("one line", "train", "x" * 2500)["target"]
    assert endless.str.len().tolist() == [LONGEST, LONGEST, 500]


def test_white_space_alone_is_no_passage():
    assert passages("a", "train", "\n" * 10 + "x" * LONGEST)["target"].str.contains("x").all()


def test_the_files_of_a_folder_are_the_splits(tmp_path):
    for name in ("wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens", "notes.txt"):
        (tmp_path / name).write_text(f"In {name}.\n")
    cases = file_passages(Source(kind="path", root=str(tmp_path)))["cases"]
    assert dict(zip(cases["split"], cases["target"], strict=True)) == {
        "test": "In wiki.test.tokens.\n",
        "train": "In wiki.train.tokens.\n",
        "validation": "In wiki.valid.tokens.\n",
    }


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_a_source_without_text_is_refused_in_words(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(TextRefused, match=r"source\.root|text files named train"):
        file_passages(Source(kind="path", root=str(tmp_path / name)))


def test_the_reference_is_that_of_python_and_every_topic_stands_once():
    table = language_reference()
    assert "while_stmt" in table.set_index("topic").loc["while", "text"]
    assert not table["text"].duplicated().any()
    assert set(table["split"]) == {"train", "validation"}
    pd.testing.assert_frame_equal(table, language_reference())


def test_the_reviews_keep_their_groups_and_none_is_there_as_another_persons_too():
    source = Source(root="x", size=100)
    cases = review_passages(source)["cases"]
    assert set(cases["group.identity"]) == {"", "women", "men"}
    sizes = cases["split"].value_counts().to_dict()
    assert sizes == {"train": 50, "validation": 12, "test": 150}  # tested as a set of 400 would be
    assert set(cases["split"]) == {"train", "validation", "test"}
