"""Rules about rows of other tables: what they find, and that without a table nothing passes."""

from string import Template

import pandas as pd
import pytest
from great_expectations.render.renderer.content_block import (
    ExpectationSuiteBulletListContentBlockRenderer,
)

from hour9.sources.references import (
    ExpectColumnPairValuesToStandIn,
    ExpectColumnValuesToStandIn,
    among,
)
from hour9.transformers.image_rules import ExpectColumnValuesToBeImages
from hour9.validate import broken_expectations

NODES = pd.DataFrame({"case": ["a", "a", "b"], "node": [0, 1, 0]})
EDGES = pd.DataFrame({"case": ["a", "b", "b"], "source": [1, 0, 1]})
ONE = ExpectColumnValuesToStandIn(column="source", place="nodes.node")
PAIR = ExpectColumnPairValuesToStandIn(column_A="case", column_B="source", place="nodes.case.node")


def broken(edges: pd.DataFrame, *rules) -> list[str]:
    with among({"nodes": NODES, "edges": edges}):
        return broken_expectations("edges", edges, rules)


def test_values_and_pairs_that_stand_there_pass():
    assert broken(EDGES[:2], ONE, PAIR) == []


def test_a_pair_is_a_row_and_not_two_values():
    (said,) = broken(EDGES, ONE, PAIR)
    assert said.startswith("edges.case.source: expect_column_pair_values_to_stand_in: 1 rows")
    assert "row 2 (case='b', source=1)" in said


@pytest.mark.parametrize("rule", [ONE, PAIR], ids=["one", "pair"])
def test_a_value_that_stands_nowhere_is_named(rule):
    (said,) = broken(EDGES[:2].assign(source=[1, 7]), rule)
    assert "row 1 (case='b', source=7)" in said


@pytest.mark.parametrize("rule", [ONE, PAIR], ids=["one", "pair"])
def test_without_the_other_table_nothing_passes(rule):
    (said,) = broken_expectations("edges", EDGES[:2], [rule])
    assert "could not be evaluated" in said


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (ONE, "values must stand in nodes.node."),
        (PAIR, "Values in case and source must be a row of nodes.case.node."),
        (ExpectColumnValuesToBeImages(column="pixels", size=64), "values must be images of 64"),
    ],
)
def test_on_its_page_a_rule_is_a_sentence(rule, sentence):
    block = ExpectationSuiteBulletListContentBlockRenderer.render([rule.configuration])
    written = block.to_json_dict()["bullet_list"][0]["string_template"]
    assert Template(written["template"]).substitute(written["params"]).startswith(sentence)
