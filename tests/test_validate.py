import pandas as pd
import pytest
from great_expectations import expectations as expect

from hour9.task import Task, without_test
from hour9.validate import DataRejected, check, deal_splits, split_of

COLUMNS = ["case", "split", "target"]


def toy_task(*rules, **tables) -> Task:
    """A task whose contract for `cases` is complete, and the given rules."""
    complete = [
        expect.ExpectTableRowCountToBeBetween(min_value=3),
        expect.ExpectTableColumnsToMatchSet(column_set=COLUMNS),
        expect.ExpectColumnValuesToNotBeNull(column="target"),
    ]
    unused = dict.fromkeys(
        ("ingest", "train", "score", "baseline", "answer", "example", "requests")
    )
    return Task(
        name="toy",
        metric="accuracy",
        contract=lambda _: {"cases": [*complete, *rules], **tables},
        **unused,
    )


def cases(**changes) -> pd.DataFrame:
    table = {
        "case": ["a", "b", "c", "d"],
        "split": ["train", "validation", "test", "test"],
        "target": [0, 1, 1, 0],
    }
    return pd.DataFrame({**table, **changes})


IN_RANGE = expect.ExpectColumnValuesToBeBetween(column="target", min_value=0, max_value=1)


def test_good_data_passes():
    check(toy_task(IN_RANGE), {"cases": cases()})


def test_a_broken_rule_is_named_with_its_row():
    with pytest.raises(DataRejected, match="expect_column_values_to_be_between") as caught:
        check(toy_task(IN_RANGE), {"cases": cases(target=[0, 7, 1, 0])})
    assert "cases.target" in str(caught.value)
    row = "row 1 (case='b', split='validation', target=7)"
    assert f"{row}; expected {{'min_value': 0.0, 'max_value': 1.0}}" in str(caught.value)


def test_a_test_of_one_class_alone_tells_nothing():
    with pytest.raises(DataRejected, match=r"cases\.target where split == test: .* found 1"):
        check(toy_task(IN_RANGE), {"cases": cases(target=[0, 1, 1, 1])})
    check(toy_task(IN_RANGE), {"cases": cases(target=[0.0, 1.0, 1.0, 1.0])})  # numbers, no classes


def test_every_broken_rule_is_named():
    with pytest.raises(DataRejected) as caught:
        check(toy_task(IN_RANGE), {"cases": cases(target=[0, 7, 1, 0], case=["a", "a", "c", "d"])})
    assert "between" in str(caught.value)
    assert "unique" in str(caught.value)


def test_a_missing_column_is_said_to_be_missing():
    rule = expect.ExpectColumnValuesToBeInSet(column="colour", value_set=["red"])
    with pytest.raises(DataRejected, match=r"cases: expect_column_values_to_be_in_set: could not"):
        check(toy_task(rule), {"cases": cases()})


@pytest.mark.parametrize(
    "table",
    [cases().head(0), cases(target=[None] * 4), cases(split=["train"] * 4)],
    ids=["empty", "all null", "no test split"],
)
def test_data_on_which_great_expectations_would_pass_is_refused(table):
    with pytest.raises(DataRejected):
        check(toy_task(IN_RANGE), {"cases": table})


def test_a_contract_that_checks_nothing_is_refused():
    with pytest.raises(DataRejected, match="lacks expect_table_row_count_to_be_between"):
        check(toy_task(extra=[]), {"cases": cases(), "extra": cases()})


def test_a_table_without_a_contract_is_refused():
    with pytest.raises(DataRejected, match=r"says nothing of tables \['extra'\]"):
        check(toy_task(), {"cases": cases(), "extra": cases()})


def test_a_missing_table_is_refused():
    with pytest.raises(DataRejected, match=r"lacks tables \['nodes'\]"):
        check(toy_task(nodes=[]), {"cases": cases()})


def test_a_split_is_dealt_by_name_so_that_new_cases_move_no_old_one():
    few = pd.DataFrame({"case": [f"c{i}" for i in range(500)], "split": ""})
    many = pd.DataFrame({"case": [f"c{i}" for i in range(1000)], "split": ""})
    dealt = [deal_splits({"cases": table})["cases"]["split"] for table in (few, many)]
    assert dealt[0].tolist() == dealt[1][:500].tolist()
    assert 0.55 < (dealt[1] == "train").mean() < 0.65


def test_a_given_split_stays():
    table = pd.DataFrame({"case": ["a", "b"], "split": ["test", ""]})
    assert deal_splits({"cases": table})["cases"]["split"].tolist() == ["test", split_of("b")]


def test_a_counterfactual_falls_into_the_split_of_its_original():
    originals = [f"c{i}" for i in range(100)]
    twins = [f"{name}-twin" for name in originals]
    table = pd.DataFrame({"case": originals + twins, "split": "", "pair": [""] * 100 + originals})
    split = deal_splits({"cases": table})["cases"]["split"].to_numpy()
    assert (split[:100] == split[100:]).all()


def test_training_never_sees_a_row_of_a_test_case():
    texts = pd.DataFrame({"case": ["a", "b", "c"], "text": ["x", "y", "z"]})
    nodes = pd.DataFrame({"node": [0, 1, 2]})
    seen = without_test({"cases": cases(), "sentences": texts, "nodes": nodes})
    assert seen["cases"]["case"].tolist() == ["a", "b"]
    assert seen["sentences"]["case"].tolist() == ["a", "b"]
    assert len(seen["nodes"]) == 3  # a graph keeps its nodes, without targets
