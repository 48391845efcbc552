import pandas as pd
import pytest

from hour9.sources.splits import split_of, with_all_splits


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
