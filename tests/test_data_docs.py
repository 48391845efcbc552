"""The Data Docs of a task show what its contract asks of every table, and that it holds."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.conftest import ROOT

from hour9 import dag
from hour9.pages import ADDRESS
from hour9.stage import LOGS, WARM
from hour9.task import read_tables, write_tables

FIRST = Path(".hour9/data-docs/taxi/index.html")
WARNED = "the Data Docs of taxi were not drawn; hour9 docs taxi says why"


@pytest.fixture
def draw(project, stage, warm, monkeypatch) -> Callable[..., list[str]]:
    """Draws taxi's, as a flow does whose pages are served; what the flow warns of."""
    monkeypatch.syspath_prepend(ROOT)
    from flows import artifacts

    said: list[str] = []
    monkeypatch.setattr(artifacts, "get_run_logger", lambda: SimpleNamespace(warning=said.append))
    for name, value in {ADDRESS: "http://x", WARM: warm, LOGS: str(dag.LOGS)}.items():
        monkeypatch.setenv(name, value)
    stage("ingest", "taxi")
    stage("validate", "taxi")
    return lambda anew=False: artifacts.draw_data_docs({"taxi": anew}) or said


def test_every_table_has_a_page_with_its_rules_and_their_outcome(draw, project):
    assert draw() == []
    outcomes = {page.stem: words(page) for page in FIRST.parent.rglob("validations/**/*.html")}
    tables = read_tables(project / "data/taxi")
    assert {name.removeprefix("taxi-") for name in outcomes} == set(tables)
    assert all("Status: Succeeded" in outcome for outcome in outcomes.values())

    tables["cases"].loc[0, "split"] = "tset"
    write_tables(tables, project / "data/taxi")
    os.utime("data/taxi")  # as DVC does, which makes the folder anew
    assert draw() == []
    latest = max(FIRST.parent.rglob("taxi-cases.html"), key=str)
    assert "Status: Failed" in words(latest)
    assert "tset" in words(latest)


def test_a_flow_draws_them_where_they_are_served_and_old_and_survives_their_failure(
    draw, monkeypatch
):
    with monkeypatch.context() as nobody:
        nobody.delenv(ADDRESS)
        assert draw() == []
        assert not FIRST.exists()
    assert draw() == []
    drawn = FIRST.stat().st_mtime_ns
    assert draw() == []
    assert FIRST.stat().st_mtime_ns == drawn
    assert draw(anew=True) == []  # the data are as they were, what is asked of them may not be
    assert FIRST.stat().st_mtime_ns > drawn
    Path("data/taxi/broken.parquet").write_text("no table")
    assert draw() == [WARNED]


def words(page: Path) -> str:
    """What a person reads on it."""
    return " ".join(re.sub(r"<[^>]+>", " ", page.read_text()).split())
