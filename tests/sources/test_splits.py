import pandas as pd
import pytest

from hour9.sources.splits import SourceRefused, split_of, with_all_splits


@pytest.mark.parametrize(
    ("name", "split"),
    [("train.tsv", "train"), ("Dev", "validation"), ("test_2016", "test"), ("testing", "")],
)
def test_a_name_speaks_of_its_split(name, split):
    assert split_of(name) == split


@pytest.mark.parametrize(
    ("given", "made"),
    [
        (["train"], {""}),
        (["validation", "test"], {""}),
        (["train", "test"], {"train", "validation", "test"}),
        (["train", "validation"], {"train", "validation", "test"}),
        (["train", "validation", "test"], {"train", "validation", "test"}),
    ],
)
def test_what_is_missing_is_made_and_test_is_never_trained_on(given, made):
    table = pd.DataFrame({"split": given * 20})
    after = with_all_splits(table, seed=0)["split"]
    assert set(after) == made
    assert (table["split"][after == "train"] == "train").all()
    if "test" in given and "" not in made:
        assert ((after == "test") == (table["split"] == "test")).all()


def test_even_a_small_train_gives_validation_a_case_unless_it_has_but_one():
    few = pd.DataFrame({"split": ["train", "train", "test"]})
    assert sorted(with_all_splits(few, seed=0)["split"]) == ["test", "train", "validation"]
    with pytest.raises(SourceRefused, match="leaves none for validation"):
        with_all_splits(few[1:].reset_index(drop=True), seed=0)
