"""Rows that name rows of another table, as rules of Great Expectations; for contracts.

Its own rules take the other table's ids as a set, and copy that whenever they look at themselves:
20,000 nodes cost 4 s a table, here 0.1.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar

import pandas as pd
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import (
    ColumnMapExpectation,
    ColumnPairMapExpectation,
)
from great_expectations.expectations.metrics.map_metric_provider import (
    ColumnMapMetricProvider,
    ColumnPairMapMetricProvider,
    column_condition_partial,
    column_pair_condition_partial,
)

from hour9.sources.told import Told

_tables: dict[str, pd.DataFrame] = {}


@contextmanager
def among(tables: Mapping[str, pd.DataFrame]) -> Iterator[None]:
    """Rules evaluated inside the block find these tables; outside it one that looks is broken."""
    _tables.update(tables)
    try:
        yield
    finally:
        _tables.clear()


class StandsIn(ColumnMapMetricProvider):
    """Which values stand in the column that `place` names: "table.column"."""

    condition_metric_name = "column_values.stand_in"
    condition_value_keys = ("place",)

    @column_condition_partial(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series, place: str, **_: object) -> pd.Series:  # noqa: N805
        table, _dot, name = place.partition(".")
        return column.isin(_tables[table][name])


class ExpectColumnValuesToStandIn(Told, ColumnMapExpectation):
    """Each value stands in a column of another table."""

    sentence: ClassVar[str] = "values must stand in $place."
    place: str
    map_metric: ClassVar[str] = "column_values.stand_in"
    success_keys: ClassVar[tuple[str, ...]] = ("mostly", "place")


class PairStandsIn(ColumnPairMapMetricProvider):
    """Which pairs are a row of the two columns that `place` names: "table.first.second"."""

    condition_metric_name = "column_pair_values.stand_in"
    condition_value_keys = ("place",)

    @column_pair_condition_partial(engine=PandasExecutionEngine)
    def _pandas(
        cls,  # noqa: N805
        column_A: pd.Series,  # noqa: N803 - so are they called there
        column_B: pd.Series,  # noqa: N803
        place: str,
        **_: object,
    ) -> pd.Series:
        table, *names = place.split(".")
        rows = pd.MultiIndex.from_frame(_tables[table][names])
        asked = pd.MultiIndex.from_arrays([column_A, column_B])
        return pd.Series(asked.isin(rows), column_A.index)


class ExpectColumnPairValuesToStandIn(Told, ColumnPairMapExpectation):
    """Each pair is a row of another table."""

    sentence: ClassVar[str] = "Values in $column_A and $column_B must be a row of $place."
    place: str
    ignore_row_if: str = "neither"
    map_metric: ClassVar[str] = "column_pair_values.stand_in"
    success_keys: ClassVar[tuple[str, ...]] = ("mostly", "place", "ignore_row_if")
