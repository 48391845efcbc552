import gzip
from pathlib import Path

import pytest

from hour9.engine.settings import Source
from hour9.sources.parallel import parallel_texts
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


def test_the_name_says_the_direction(folder):
    assert read(folder, "de-en")["text"].tolist()[1] == "eins"


@pytest.mark.parametrize("name", ["", "en", "en-", "en-en", "../en-de"])
def test_a_name_that_is_no_pair_of_languages_is_refused(folder, name):
    with pytest.raises(TextRefused, match="say from what to what"):
        read(folder, name)


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
