import gzip
from pathlib import Path

import pytest

from hour9.engine.settings import Source
from hour9.sources.parallel import parallel_texts
from hour9.sources.splits import SourceRefused
from hour9.sources.text import TextRefused

MULTI30K = Path(__file__).parents[3] / "shared/data/text/multi30k/raw"


def read(root: Path, name: str = "en-de"):
    return parallel_texts(Source(kind="path", root=str(root), name=name))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "train.en").write_text("one\n\ntwo\nthree\n")
    (tmp_path / "train.de.gz").write_bytes(gzip.compress(b"eins\nnichts\nzwei\ndrei\n"))
    for split in ("val", "test_2016"):
        (tmp_path / f"{split}.en").write_text("four\u2028and five")  # no end of a line
        (tmp_path / f"{split}.de").write_text("vier und fünf")
    return tmp_path


def test_line_n_of_one_file_is_the_translation_of_line_n_of_the_other(folder, capsys):
    table = read(folder)
    assert table["case"].tolist() == ["test_2016:1", "train:1", "train:3", "train:4", "val:1"]
    assert table["translation"].tolist() == [
        "vier und fünf",
        "eins",
        "zwei",
        "drei",
        "vier und fünf",
    ]
    assert table["split"].tolist() == ["test", "train", "train", "train", "validation"]
    assert "train.en: 1 lines are empty" in capsys.readouterr().err


def test_files_of_one_split_keep_their_names_and_are_told(folder, capsys):
    for name in ("test.2017.en", "test.2017.de", "test.2018.en", "test.2018.de"):
        (folder / name).write_text("six")
    assert read(folder)["case"].tolist()[:3] == ["test.2017:1", "test.2018:1", "test_2016:1"]
    told = "named test: test.2017.en, test.2018.en, test_2016.en"
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("name", ["test_2017.en", "test_2017.de.gz"])
def test_a_file_without_its_translation_is_left_out_aloud(folder, capsys, name):
    (folder / name).write_bytes(b"six")
    assert not read(folder)["case"].str.contains("2017").any()
    assert f"left out {name} (not there in the other language)" in capsys.readouterr().err


def test_a_file_of_no_split_beside_others_is_refused(folder):
    for name in ("sample.en", "sample.de"):
        (folder / name).write_text("seven")
    with pytest.raises(SourceRefused, match=r"which split is sample\.en\?"):
        read(folder)


@pytest.mark.parametrize("twin", ["val.en.gz", "train.de"])
def test_a_file_that_lies_there_packed_and_unpacked_is_refused(folder, twin):
    (folder / twin).write_bytes(b"")
    with pytest.raises(SourceRefused, match=f"holds {twin.removesuffix('.gz')} and the same with"):
        read(folder)


def test_the_name_says_the_direction(folder):
    assert read(folder, "de-en")["text"].tolist()[1] == "eins"


@pytest.mark.parametrize("name", ["", "en", "en-", "en-en", "../en-de"])
def test_a_name_that_is_no_pair_of_languages_is_refused(folder, name):
    with pytest.raises(TextRefused, match="say from what to what"):
        read(folder, name)


def test_blank_lines_at_the_end_are_none(folder):
    before = read(folder)
    with (folder / "val.en").open("a") as file:
        file.write("\n\n")
    assert read(folder).equals(before)


def test_files_of_different_length_are_refused(folder):
    (folder / "val.de").write_text("vier\nfünf\n")
    with pytest.raises(TextRefused, match=r"has 1 lines and .*val\.de 2"):
        read(folder)


def test_a_folder_without_pairs_is_refused(folder):
    with pytest.raises(TextRefused, match=r"holds no two files that end in \.en and \.fr"):
        read(folder, "en-fr")
    with pytest.raises(TextRefused, match="is no folder"):
        read(folder / "nowhere")


@pytest.mark.skipif(not MULTI30K.exists(), reason="needs ../shared/data/text/multi30k/raw")
def test_multi30k_is_read_as_published():
    table = read(MULTI30K)
    counts = table["case"].str.partition(":")[0].value_counts().to_dict()
    assert counts["train"] == 29_000
    assert counts["val"] == 1014
    assert counts["test_2016_flickr"] == 1000
