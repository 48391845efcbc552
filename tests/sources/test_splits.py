import numpy as np
import pandas as pd
import pytest

from hour9.sources.splits import (
    FOLDS,
    SourceRefused,
    at_random,
    in_folds,
    split_of,
    with_all_splits,
)


@pytest.mark.parametrize(
    ("name", "split"),
    [("train.tsv", "train"), ("Dev", "validation"), ("test_2016", "test"), ("testing", "")],
)
def test_a_name_speaks_of_its_split(name, split):
    assert split_of(name) == split


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ([], set()),  # for the contract to refuse
        (["train"], {""}),
        (["test"], {""}),
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


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["validation", "test"], "of test, validation none is named train"),
        (["train", "test", ""], "a part is neither train, validation nor test"),
    ],
)
def test_what_is_named_for_test_never_becomes_training_nor_the_unnamed_a_test(given, said):
    with pytest.raises(SourceRefused, match=said):
        with_all_splits(pd.DataFrame({"split": given * 20}), seed=0)


def test_even_a_small_train_gives_validation_a_case_unless_it_has_but_one():
    few = pd.DataFrame({"split": ["train", "train", "test"]})
    assert sorted(with_all_splits(few, seed=0)["split"]) == ["test", "train", "validation"]
    with pytest.raises(SourceRefused, match="leaves none for validation"):
        with_all_splits(few[1:].reset_index(drop=True), seed=0)


def test_a_tenth_of_train_becomes_validation_drawn_by_the_seed():
    table = pd.DataFrame({"split": ["train"] * 200 + ["test"] * 50})
    first, again, other = (with_all_splits(table, seed)["split"] for seed in (0, 0, 1))
    assert first.value_counts().to_dict() == {"train": 180, "test": 50, "validation": 20}
    assert (first == again).all()
    assert (first != other).any()
    assert set(table["split"]) == {"train", "test"}  # what was given is left as it was


def test_splits_at_random_have_their_shares_and_come_again_with_their_seed():
    found = at_random(1000, 0.7, 0.2, seed=0)
    assert pd.Series(found).value_counts().to_dict() == {
        "train": 700,
        "validation": 200,
        "test": 100,
    }
    assert (at_random(1000, 0.7, 0.2, seed=0) == found).all()
    assert (at_random(1000, 0.7, 0.2, seed=1) != found).any()
    assert "test" in found[:50]  # and in no order
    assert len(at_random(0, 0.7, 0.2, seed=0)) == 0


def test_each_case_is_tested_in_one_of_the_folds_each_with_equal_shares_of_the_classes():
    target = pd.Series(["a", "b", "b"] * 20)
    folds = [in_folds(target, fold, seed=1) for fold in range(FOLDS)]
    for name in ("test", "validation"):
        assert sum(fold == name for fold in folds).tolist() == [1] * len(target)
    for fold in folds:
        assert sorted(target[fold == "test"]) == ["a"] * 2 + ["b"] * 4
    for fold, following in zip(folds, [*folds[1:], folds[0]], strict=True):
        assert ((fold == "validation") == (following == "test")).all()
    assert (in_folds(target, 0, seed=1) == folds[0]).all()
    assert (in_folds(target, 0, seed=2) != folds[0]).any()


def test_folds_of_groups_keep_each_together_and_have_equal_shares_of_the_classes():
    target, group = pd.Series(["a", "a", "b", "b", "b", "b"] * 20), np.arange(120) // 2
    for fold in range(FOLDS):
        found = in_folds(target, fold, 1, group)
        assert (found[::2] == found[1::2]).all()
        assert sorted(target[found == "test"]) == ["a"] * 4 + ["b"] * 8


def test_what_cannot_be_dealt_in_folds_is_refused():
    with pytest.raises(SourceRefused, match="these targets are numbers; set fold to -1"):
        in_folds(pd.Series([0.5] * 20), 0, seed=0)
    with pytest.raises(SourceRefused, match="as many cases of each class, but 'b' has 2"):
        in_folds(pd.Series(["a"] * 20 + ["b"] * 2), 0, seed=0)
