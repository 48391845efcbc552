"""Every mess that labelled texts come in is read without losing a row, or named by its line."""

import gzip
import os
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from hour9.engine.settings import Source
from hour9.sources.splits import SourceRefused
from hour9.sources.text import LABEL_WORDS, TextRefused, labelled_texts, of_dataset, settle

SHARED = Path(os.environ.get("HOUR9_SHARED", "../shared")) / "data"


def read(root, seed=0):
    return labelled_texts(Source(kind="path", root=str(root), seed=seed))


def write(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = text.encode(encoding)
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def pairs(table):
    return list(zip(table["text"], table["label"], strict=True))


GOOD_AND_BAD = [("good fun", "positive"), ("bad, sad", "negative")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tsv", "good fun\t1\nbad, sad\t0\n"),
        ("a.tsv", "good fun\t1\nbad, sad\t0"),
        ("a.tsv", "good fun \t1\r\nbad, sad \t0\r\n\r\n"),
        ("a.tsv", "1\tgood fun\n0\tbad, sad\n"),
        ("a.tsv", "0\tgood fun\t1\n1\tbad, sad\t0\n2\tbad, sad\t0\n"),
        ("a.tsv", "sentence\tlabel\ngood fun\t1\nbad, sad\t0\n"),
        ("a.tsv", "index\tsentence\tlabel\n0\tgood fun\t1\n1\tbad, sad\t0\n"),
        ("a.tsv", "\ufeffText\tSentiment\ngood fun\tPositive\nbad, sad\tneg\n"),
        ("a.tsv.gz", "good fun\tpos\nbad, sad\tneg\n"),
        ("a.csv", 'review,sentiment\ngood fun,positive\n"bad, sad",negative\n'),
        ("a.csv", 'good fun,1.0\n"bad, sad",0.0\n'),
        ("a.csv", "label;text\n1;good fun\n0;bad, sad\n"),
        ("a.csv.gz", 'file,rating,label,review\nx,10,1,good fun\ny,1,0,"bad, sad"\n'),
        ("a.csv", 'text,label\ngood fun,True\n"bad, sad",False\n'),
        ("a.jsonl", '{"text": "good fun", "label": 1}\n{"label": 0, "text": "bad, sad"}\n'),
        (
            "a.jsonl.gz",
            '{"review": "good fun", "label": true}\n{"review": "bad, sad", "label": 0}\n',
        ),
    ],
)
def test_a_file_is_read_whatever_its_columns(tmp_path, name, content):
    assert pairs(read(write(tmp_path / name, content)))[:2] == GOOD_AND_BAD


def test_a_parquet_file_is_read_and_a_text_stays_as_it_is_written(tmp_path):
    texts = ["1999-12-31", "bad, sad", "007", "=\n="]
    table = pd.DataFrame({"idx": range(4), "sentence": texts, "label": [1, 0, 1, 0]})
    table.to_parquet(tmp_path / "a.parquet")
    found = read(tmp_path / "a.parquet")
    assert found["text"].tolist() == texts
    assert found["case"].tolist() == [f"a.parquet:{line}" for line in (1, 2, 3, 4)]
    table.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    assert read(tmp_path / "a.jsonl")["text"].tolist() == texts
    split = tmp_path / "hub"
    split.mkdir()
    for name in ("train-00000-of-00001", "validation-00000-of-00001", "test-00000-of-00001"):
        table.assign(label=-1 if "test" in name else table["label"]).to_parquet(
            split / f"{name}.parquet"
        )
    assert read(split)["split"].value_counts().to_dict() == {"test": 4, "train": 3, "validation": 1}


def test_in_a_tsv_quotes_are_characters(tmp_path):
    path = write(tmp_path / "a.tsv", '" quite " a film\t1\n"unclosed\t0\n')
    assert pairs(read(path)) == [('" quite " a film', "positive"), ('"unclosed', "negative")]


def test_in_a_csv_a_quoted_text_may_hold_line_ends_and_cases_keep_their_line(tmp_path):
    path = write(tmp_path / "a.csv", 'text,label\n"two\nlines",1\n"a ""b""",0\n')
    table = read(path)
    assert pairs(table) == [("two\nlines", "positive"), ('a "b"', "negative")]
    assert table["case"].tolist() == ["a.csv:2", "a.csv:4"]


def test_a_missing_header_costs_no_row_and_equal_rows_are_different_cases(tmp_path):
    table = read(write(tmp_path / "a.tsv", "review\t1\nreview\t1\ntext\t0\n"))
    assert len(table) == 3
    assert table["case"].is_unique


def test_only_a_line_feed_ends_a_line_of_a_tsv(tmp_path):
    path = write(tmp_path / "a.tsv", "one\u2028line\t1\nnext\x85one\t0\n")
    assert len(read(path)) == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_accents_survive_every_usual_encoding(tmp_path, encoding):
    path = write(tmp_path / "a.tsv", "clichés\t0\ncafé – “naïve”\t1\n", encoding)
    assert read(path)["text"].tolist() == ["clichés", "café – “naïve”"]


def test_the_old_encoding_is_read_aloud(tmp_path, capsys):
    read(write(tmp_path / "a.tsv", "fine\t1\nclichés\t0\n", "cp1252"))
    assert "a.tsv, line 2: not UTF-8, read as Windows-1252" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["dev", "valid", "validation", "val"])
def test_file_names_decide_the_split(tmp_path, name):
    write(tmp_path / "train_5k.tsv", "a\t0\nb\t1\n")
    write(tmp_path / f"{name}.csv", "c,0\n")
    write(tmp_path / "test.tsv.gz", "d\t1\n")
    table = read(tmp_path).set_index("text")
    assert table["split"].to_dict() == {"a": "train", "b": "train", "c": "validation", "d": "test"}


def test_an_unlabelled_test_file_gives_way_to_the_labelled_one(tmp_path, capsys):
    write(tmp_path / "train.tsv", "sentence\tlabel\na\t0\nb\t1\n")
    write(tmp_path / "dev.tsv", "sentence\tlabel\nc\t1\n")
    write(tmp_path / "test.tsv", "index\tsentence\n0\td\n")
    write(tmp_path / "test_labelled.tsv", "index\tsentence\tlabel\n0\td\t1\n")
    table = read(tmp_path)
    assert table.loc[table["split"] == "test", "case"].tolist() == ["test_labelled.tsv:2"]
    assert "test.tsv has no labels and is left out" in capsys.readouterr().err


def test_without_a_validation_file_a_tenth_of_train_is_carved_out_by_the_seed(tmp_path):
    write(tmp_path / "train.tsv", "".join(f"text {i}\t{i % 2}\n" for i in range(100)))
    write(tmp_path / "test.tsv", "x\t0\ny\t1\n")
    first, again, other = (read(tmp_path, seed)["split"] for seed in (0, 0, 1))
    assert first.value_counts().to_dict() == {"train": 90, "validation": 10, "test": 2}
    assert first.equals(again)
    assert not first.equals(other)


def test_without_a_labelled_test_file_the_validation_file_is_the_test(tmp_path):
    write(tmp_path / "train.tsv", "".join(f"text {i}\t{i % 2}\n" for i in range(100)))
    write(tmp_path / "dev.tsv", "x\t0\ny\t1\n")
    write(tmp_path / "test.tsv", "index\tsentence\n0\td\n")
    table = read(tmp_path)
    assert table.loc[table["split"] == "test", "case"].tolist() == ["dev.tsv:1", "dev.tsv:2"]
    assert (table["split"] == "validation").sum() == 10


def test_one_file_alone_is_left_to_be_dealt(tmp_path):
    assert set(read(write(tmp_path / "train.tsv", "a\t0\nb\t1\n"))["split"]) == {""}
    assert set(read(tmp_path)["split"]) == {""}


def test_folders_named_pos_and_neg_are_labels(tmp_path):
    for split in ("train", "test"):
        write(tmp_path / split / "pos" / "0_9.txt", f"good {split}\n")
        write(tmp_path / split / "neg" / "1_2.txt", f"bad {split}\n")
        write(tmp_path / split / "pos" / "._0_9.txt", "\0")  # as macOS leaves beside a file
    table = read(tmp_path, seed=0)
    assert table["case"].tolist()[:2] == ["test/neg/1_2.txt", "test/pos/0_9.txt"]
    assert table["label"].tolist() == ["negative", "positive"] * 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", "good\t1\nfair\t2\nbad\t0\n", r"a\.tsv, line 2: '2' is no label; a label is"),
        ("a.tsv", "good\t1\na\tb\t0\nbad\t0\n", r"a\.tsv, line 2: 3 columns, not 2; take"),
        ("a.tsv", "good\t1\n \t0\n", r"a\.tsv, line 2: no text"),
        ("a.tsv", "Kritik\tNote\ngood\t1\nbad\t0\n", r"line 1: 'note' is no label.*header"),
        ("a.csv", 'text,label\n"open,1\nbad,0\n', r"a\.csv, line 2: unexpected end.*close the"),
        ("a.csv", "number,label\n1,0\n", r"a\.csv, line 1: no column of texts among number"),
        ("a.tsv", "sentence\nonly\n", r"no labels in a\.tsv; add a column 'label'"),
        ("a.tsv", "\n", r"a\.tsv is empty"),
        ("a.csv", "go\0od,1\nbad,0\n", r"a\.csv holds NUL bytes.*save it as UTF-8"),
        ("a.parquet", "PAR1", r"a\.parquet is no Parquet file: "),
        (
            "a.jsonl",
            '{"text": "good", "label": 1}\n\n{"text"\n',
            r"a\.jsonl, line 3: .*object a line",
        ),
        ("a.jsonl", "[1, 2]\n", r"a\.jsonl, line 1: no object"),
        ("a.jsonl", '{"text": "good", "label": 2}\n', r"a\.jsonl, line 1: '2' is no label"),
        ("a.xlsx", "PK", r"a\.xlsx is no \.tsv, \.csv.*convert it"),
        ("a.tsv", "1\tgood\tneg\n0\tbad\tpos\n", r"a\.tsv: columns 1 and 3 both hold labels; give"),
    ],
)
def test_what_cannot_be_read_is_named_by_file_line_and_cure(tmp_path, name, content, message):
    with pytest.raises(TextRefused, match=message):
        read(write(tmp_path / name, content))


def test_a_text_of_a_csv_may_be_of_any_length(tmp_path):
    path = write(tmp_path / "a.csv", f"text,label\n{'a' * 200_000},1\nbad,0\n")
    assert read(path)["text"].str.len().tolist() == [200_000, 3]


@pytest.mark.parametrize("texts", [("good, really", "bad, no"), ("good, really", "bad")])
def test_commas_in_texts_do_not_hide_the_semicolon(tmp_path, texts):
    path = write(tmp_path / "a.csv", "".join(f"{text};1\n" for text in texts))
    assert read(path)["text"].tolist() == list(texts)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfea\0b", "begins as UTF-16 but is not"),
        ("good\t1\n".encode("utf-16-le"), "holds NUL bytes"),
        (gzip.compress(b"", mtime=0)[:10] + b"\xff" * 20, "is no whole gzip file.*invalid"),
    ],
    ids=["half a character", "no mark", "gzip"],
)
def test_bytes_that_are_no_text_are_refused_by_name(tmp_path, content, message):
    (tmp_path / "a.tsv").write_bytes(content)
    with pytest.raises(TextRefused, match=rf"a\.tsv {message}"):
        read(tmp_path / "a.tsv")


def test_a_file_that_lies_there_packed_and_unpacked_is_refused(tmp_path):
    for name in ("train.csv", "train.csv.gz", "test.csv"):
        write(tmp_path / name, "good,1\nbad,0\n")
    with pytest.raises(SourceRefused, match=r"holds train\.csv and the same with \.gz"):
        read(tmp_path)


def test_a_cut_gzip_file_is_named(tmp_path):
    path = write(tmp_path / "a.tsv.gz", "good\t1\n" * 100)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(TextRefused, match=r"a\.tsv\.gz is no whole gzip file"):
        read(path)


def test_a_folder_whose_file_speaks_of_no_split_is_refused(tmp_path):
    write(tmp_path / "train.tsv", "a\t0\n")
    write(tmp_path / "extra.tsv", "b\t1\n")
    with pytest.raises(SourceRefused, match=r"which split is extra\.tsv\?"):
        read(tmp_path)


def test_a_folder_above_the_data_names_the_folders_below(tmp_path):
    write(tmp_path / "SST-2" / "train.tsv", "a\t0\n")
    with pytest.raises(TextRefused, match=r"folders here: SST-2"):
        read(tmp_path)


class Column:
    names = ("neg", "pos")


class Rows(dict):
    """A split as `datasets` hands it over: columns by name, and what they declare."""

    column_names = ("sentence", "label")
    features = {"label": Column()}  # noqa: RUF012


def test_the_splits_of_a_hub_without_labels_are_left_out():
    parts = [
        of_dataset("train", Rows(sentence=["a"] * 20, label=[0, 1] * 10)),
        of_dataset("validation", Rows(sentence=["c"], label=[1])),
        of_dataset("test", Rows(sentence=["d"], label=[-1])),
    ]
    table = settle(parts, seed=0)
    assert table.loc[table["split"] == "test", "case"].tolist() == ["validation:0"]
    assert set(table["label"]) == set(LABEL_WORDS.values())


def test_a_hub_may_number_its_labels_the_other_way_round():
    class Reversed(Rows):
        features = {"label": SimpleNamespace(names=["pos", "neg"])}  # noqa: RUF012

    part = of_dataset("train", Reversed(sentence=["a", "b"], label=[0, 1]))
    assert part.table["label"].tolist() == ["positive", "negative"]


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real sets in ../shared/data")
@pytest.mark.parametrize(
    ("folder", "sizes"),
    [
        ("sst2", {"train": 6920, "validation": 872, "test": 1821}),
        ("glue/SST-2", {"train": 67349, "validation": 872, "test": 1821}),
        ("imdb", {"train": 4500, "validation": 500, "test": 5000}),
    ],
)
def test_real_sets_are_read_to_the_last_row(folder, sizes):
    table = read(SHARED / folder)
    assert table["split"].value_counts().to_dict() == sizes
    assert table["case"].is_unique
