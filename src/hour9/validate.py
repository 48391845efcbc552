"""Validate: nothing is trained on data that breaks its contract.

Great Expectations passes an empty suite, an empty table and a column of nulls. So a contract that
would check nothing is refused here, and so is a result that evaluated less than was declared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd

from hour9.params import DATA, RAW
from hour9.task import PROBE, SPLITS, Tables, Task, load_task, read_tables, write_tables
from hour9.wording import some

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation

SHARES = {"train": 0.6, "validation": 0.1, "test": 0.3}
"""Many test cases: what a gate can tell grows with their number alone (docs/gates.md)."""
NEEDED = {  # without these a suite can pass on nothing
    "expect_table_row_count_to_be_between",
    "expect_table_columns_to_match_set",
    "expect_column_values_to_not_be_null",
}


class DataRejected(Exception):  # noqa: N818 - reads as a sentence where it is raised
    """The data breaks its contract, or the contract checks nothing."""


def validate(name: str) -> None:
    """Check the raw tables of a task and write them, split, to data/<task>/."""
    task = load_task(name)
    tables = deal_splits(read_tables(RAW / name))
    check(task, tables)
    write_tables(tables, DATA / name)
    counts = tables["cases"]["split"].value_counts()
    print(", ".join(f"{counts.get(split, 0)} {split} cases" for split in SPLITS))


def deal_splits(tables: Tables) -> Tables:
    """Give each case that has no split one by the hash of its name: stable when cases are added.

    A counterfactual follows the case it was made from, so that no pair straddles two splits.
    """
    cases = tables["cases"].copy()
    origin = cases["case"]
    if "pair" in cases:
        origin = origin.where(cases["pair"] == "", cases["pair"])
    empty = cases["split"] == ""
    cases.loc[empty, "split"] = [split_of(case) for case in origin[empty]]
    return {**tables, "cases": cases}


def split_of(case: str) -> str:
    """The split that a case's name falls into."""
    place = int.from_bytes(hashlib.sha256(case.encode()).digest()[:8], "big") / 2**64
    for split, share in SHARES.items():
        if place < share:
            return split
        place -= share
    return SPLITS[-1]


def shared_contract(cases: pd.DataFrame) -> list[Expectation]:
    """What holds for the cases of every task."""
    from great_expectations import expectations as expect
    from great_expectations.expectations.row_conditions import Column

    text = [name for name in cases.columns if name.startswith("group.") or name == "pair"]
    classes = "target" in cases and not pd.api.types.is_float_dtype(cases["target"])
    return [
        expect.ExpectColumnValuesToNotBeNull(column="case"),
        expect.ExpectColumnValuesToBeUnique(column="case"),
        expect.ExpectColumnValuesToNotBeNull(column="split"),
        expect.ExpectColumnValuesToBeInSet(column="split", value_set=[*SPLITS, PROBE]),
        *[
            expect.ExpectColumnDistinctValuesToContainSet(column="split", value_set=[split])
            for split in SPLITS
        ],
        *[expect.ExpectColumnValuesToNotBeNull(column=name) for name in text],
        *[  # of one class, a model that always says so is right
            expect.ExpectColumnUniqueValueCountToBeBetween(
                column="target", min_value=2, row_condition=Column("split") == "test"
            )
            for _ in range(classes)
        ],
    ]


def check(task: Task, tables: Tables) -> None:
    """Raise DataRejected, naming every broken expectation of every table."""
    from hour9.sources.references import among

    contract = {name: list(rules) for name, rules in task.contract(tables).items()}
    if missing := sorted({"cases", *contract} - tables.keys()):
        raise DataRejected(f"task '{task.name}' lacks tables {missing}; got {sorted(tables)}")
    if unchecked := sorted(tables.keys() - contract.keys()):
        raise DataRejected(f"the contract of '{task.name}' says nothing of tables {unchecked}")
    broken = [line for name, rules in contract.items() for line in vacuous(name, rules)]
    if not broken:
        contract["cases"] += shared_contract(tables["cases"])
        with among(tables):
            for name, rules in contract.items():
                broken += broken_expectations(name, tables[name], rules)
    if broken:
        raise DataRejected("the data breaks its contract\n  " + "\n  ".join(broken))


def vacuous(name: str, rules: Sequence[Expectation]) -> list[str]:
    """What the contract of a table lacks to be able to fail."""
    lacking = sorted(NEEDED - {rule.expectation_type for rule in rules})
    return [f"{name}: its contract lacks {rule}, so it could pass on nothing" for rule in lacking]


def broken_expectations(name: str, table: pd.DataFrame, rules: Sequence[Expectation]) -> list[str]:
    """Check one table; one readable line for each broken expectation."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    rows = context.data_sources.add_pandas("memory").add_dataframe_asset(name)
    batch = rows.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": table})
    suite = gx.ExpectationSuite(name, expectations=list(rules))
    outcome = batch.validate(suite, result_format={"result_format": "COMPLETE"})
    if len(outcome.results) != len(rules) or not rules:
        return [f"{name}: {len(rules)} expectations declared, {len(outcome.results)} evaluated"]
    return [describe(name, table, result) for result in outcome.results if not result.success]


def describe(name: str, table: pd.DataFrame, result: Any) -> str:
    """Say where, which rule, and what was found: the rows, or a measured value."""
    from great_expectations.expectations.row_conditions import deserialize_row_condition

    config, found = result.expectation_config, result.result
    keys = ("column", "column_A", "column_B", "column_list")
    values = [config.kwargs[key] for key in keys if key in config.kwargs]
    columns = [c for v in values for c in (v if isinstance(v, list) else [v]) if c in table]
    where = ".".join([name, *map(str, columns)])
    if of_rows := config.kwargs.get("row_condition"):
        where += f" where {deserialize_row_condition(of_rows)!r}"
    rule = config.type
    error = (result.exception_info or {}).get("exception_message") or next(
        (
            info["exception_message"]
            for info in (result.exception_info or {}).values()
            if isinstance(info, dict) and info.get("raised_exception")
        ),
        None,
    )
    if error:
        return f"{where}: {rule}: could not be evaluated: {error.splitlines()[0]}"
    told = ("batch_id", "row_condition", "condition_parser", *keys)
    wanted = {k: v for k, v in config.kwargs.items() if k not in told and v is not None}
    if index := found.get("unexpected_index_list"):
        rows = some(index, "; ", partial(row_text, table))
        allowed = f"; expected {shorten(wanted)}" if wanted else ""
        return f"{where}: {rule}: {len(index)} rows break it: {rows}{allowed}"
    lists = {"lacks": "partial_missing_list", "has also": "partial_unexpected_list"}
    if of_set := [
        f"{word} {shorten(found[name])}" for word, name in lists.items() if found.get(name)
    ]:
        return f"{where}: {rule}: {', '.join(of_set)}"
    value = found.get("observed_value", "no such column")
    return f"{where}: {rule}: found {shorten(value)}, expected {shorten(wanted)}"


def row_text(table: pd.DataFrame, row: int) -> str:
    """One row as a person would point at it."""
    cells = ", ".join(f"{k}={shorten(v, 40)}" for k, v in list(table.loc[row].items())[:6])
    return f"row {row} ({cells})"


def shorten(value: object, longest: int = 120) -> str:
    """The value, cut where it is too long to read."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= longest else text[: longest - 1] + "…"
