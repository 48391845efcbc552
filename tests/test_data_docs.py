"""The Data Docs of a task show what its contract asks of every table, and that it holds."""

import re
from pathlib import Path

from hour9 import data_docs
from hour9.task import read_tables, write_tables


def test_every_table_has_a_page_with_its_rules_and_their_outcome(project, stage):
    stage("ingest", "taxi")
    stage("validate", "taxi")
    first = data_docs.build("taxi")
    assert first.is_relative_to(project / ".hour9")
    outcomes = {page.stem: words(page) for page in first.parent.rglob("validations/**/*.html")}
    tables = read_tables(project / "data/taxi")
    assert {name.removeprefix("taxi-") for name in outcomes} == set(tables)
    assert all("Status: Succeeded" in outcome for outcome in outcomes.values())

    tables["cases"].loc[0, "split"] = "tset"
    write_tables(tables, project / "data/taxi")
    latest = max(data_docs.build("taxi").parent.rglob("taxi-cases.html"), key=str)
    assert "Status: Failed" in words(latest)
    assert "tset" in words(latest)


def words(page: Path) -> str:
    """What a person reads on it."""
    return " ".join(re.sub(r"<[^>]+>", " ", page.read_text()).split())
