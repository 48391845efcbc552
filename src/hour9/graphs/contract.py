"""What holds for the tables of every task on one graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation

LARGEST = 1e6
"""Of a feature's value and of what an edge carries: beyond it lies a broken unit, or infinity."""

MOST_FEATURES = 100_000
"""A baseline holds them all for each case: beyond it lies a broken id, or no memory."""


def columns(*names: str) -> list[Expectation]:
    """Some rows, these columns, no cell empty."""
    from great_expectations import expectations as expect

    return [
        expect.ExpectTableRowCountToBeBetween(min_value=1),
        expect.ExpectTableColumnsToMatchSet(column_set=list(names), exact_match=True),
        *[expect.ExpectColumnValuesToNotBeNull(column=name) for name in names],
    ]


def a_node(column: str) -> Expectation:
    """Every value is in nodes.node."""
    from hour9.sources.references import ExpectColumnValuesToStandIn

    return ExpectColumnValuesToStandIn(column=column, place="nodes.node")


def pairs(first: str, second: str) -> list[Expectation]:
    """Two different nodes, the lower one first, each pair once."""
    from great_expectations import expectations as expect

    return [
        a_node(first),
        a_node(second),
        expect.ExpectColumnPairValuesAToBeGreaterThanB(column_A=second, column_B=first),
        expect.ExpectCompoundColumnsToBeUnique(column_list=[first, second]),
    ]


def features() -> list[Expectation]:
    """Every entry belongs to a node, stands once and is a number above 0: a zero is its absence."""
    from great_expectations import expectations as expect

    return [
        *columns("node", "feature", "value"),
        a_node("node"),
        expect.ExpectColumnValuesToBeBetween(
            column="feature", min_value=0, max_value=MOST_FEATURES - 1
        ),
        expect.ExpectColumnValuesToBeBetween(
            column="value", min_value=0, strict_min=True, max_value=LARGEST
        ),
        expect.ExpectCompoundColumnsToBeUnique(column_list=["node", "feature"]),
    ]


def edges() -> list[Expectation]:
    """Every edge joins two different nodes of the graph and stands once."""
    from great_expectations import expectations as expect

    return [
        *columns("source", "target", "distance"),
        *pairs("source", "target"),
        expect.ExpectColumnValuesToBeBetween(column="distance", min_value=0, max_value=LARGEST),
    ]
