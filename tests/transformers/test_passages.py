import numpy as np
import pandas as pd
import pytest

from hour9.engine.settings import Source
from hour9.sources.text import TextRefused
from hour9.transformers.copied import copied
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


def test_a_line_may_end_as_on_windows(tmp_path):
    text = "".join(f"line {number}\n" for number in range(100))
    told = []
    for ending in ("\n", "\r\n"):
        (tmp_path / "a.txt").write_bytes(text.replace("\n", ending).encode())
        told.append(file_passages(Source(kind="path", root=str(tmp_path / "a.txt")))["cases"])
    assert told[0].equals(told[1])


def test_white_space_alone_is_no_passage():
    assert passages("a", "train", "\n" * 10 + "x" * LONGEST)["target"].str.contains("x").all()


def test_the_files_of_a_folder_are_the_splits(tmp_path, capsys):
    for name in ("wiki.train.tokens", "wiki.valid.tokens", "wiki.test.tokens", "notes.txt"):
        (tmp_path / name).write_text(f"In {name}.\n")
    cases = file_passages(Source(kind="path", root=str(tmp_path)))["cases"]
    assert dict(zip(cases["split"], cases["target"], strict=True)) == {
        "test": "In wiki.test.tokens.\n",
        "train": "In wiki.train.tokens.\n",
        "validation": "In wiki.valid.tokens.\n",
    }
    told = capsys.readouterr().err
    assert "left out notes.txt" in told
    assert "named train: wiki.train.tokens; named validation: wiki.valid.tokens; named" in told


@pytest.mark.parametrize("others", [[], ["test.txt"], ["val.txt"], ["val.txt", "test.txt"]])
def test_a_folder_gives_all_splits_whatever_files_lie_beside_train(tmp_path, others):
    for name in ["train.txt", *others]:
        (tmp_path / name).write_text(f"{name}\n{TEXT}")
    cases = file_passages(Source(kind="path", root=str(tmp_path)))["cases"]
    assert set(cases["split"]) == {"train", "validation", "test"}
    if others:  # what the last of them says is tested
        assert "".join(documents(cases, "test")) == f"{others[-1]}\n{TEXT}"


@pytest.mark.parametrize(
    ("name", "text", "missing"),
    [
        ("a.txt", "", "train, validation, test"),
        ("a.txt", "abc", "test"),
        ("a.txt", " \n" * 500, "train, validation, test"),
        ("test.txt", "\n", "test"),
    ],
)
def test_a_file_with_too_little_text_is_named(tmp_path, name, text, missing):
    (tmp_path / "train.txt").write_text(TEXT)
    (tmp_path / name).write_text(text)
    root = tmp_path if name == "test.txt" else tmp_path / name
    with pytest.raises(TextRefused, match=f"{name} holds no text for {missing}; add"):
        file_passages(Source(kind="path", root=str(root)))


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_a_source_without_text_is_refused_in_words(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(TextRefused, match=r"source\.root|text files named train"):
        file_passages(Source(kind="path", root=str(tmp_path / name)))


def test_the_reference_is_that_of_python_and_every_topic_stands_once():
    table = language_reference()
    assert "while_stmt" in table.set_index("topic").loc["compound", "text"]
    assert not table["text"].duplicated().any()
    assert set(table["split"]) == {"train", "validation"}
    pd.testing.assert_frame_equal(table, language_reference())


def test_little_of_what_the_reference_holds_out_stands_in_what_is_read_before():
    table = language_reference()
    train, validation = (table[table["split"] == name]["text"] for name in ("train", "validation"))
    assert np.nanmax(copied(validation.tolist(), train)) < 0.2
    assert len(validation) >= 4


def test_a_validation_that_is_cut_off_is_the_end_of_what_is_learned_from(tmp_path):
    (tmp_path / "train.txt").write_text(TEXT)
    (tmp_path / "test.txt").write_text("Another play.\n")
    cases = file_passages(Source(kind="path", root=str(tmp_path)))["cases"]
    (train,), (validation,) = (documents(cases, split) for split in ("train", "validation"))
    assert train + validation == TEXT


def test_the_reviews_keep_their_groups_and_none_is_there_as_another_persons_too():
    source = Source(root="x", size=100)
    cases = review_passages(source)["cases"]
    assert set(cases["group.identity"]) == {"", "women", "men"}
    sizes = cases["split"].value_counts().to_dict()
    assert sizes == {"train": 50, "validation": 12, "test": 150}  # tested as a set of 400 would be
    assert set(cases["split"]) == {"train", "validation", "test"}
