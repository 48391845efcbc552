"""What a topic implements. Start here.

A task keeps its data in tables, and one of them is `cases`: a row for each thing that a model is
scored on (a text, a node, an episode), with the columns

    case        a stable name of the row
    split       train, validation or test; empty until `validate` deals it
    target      what the model must find; it stands in this table and in no other
    group.<g>   slices for the bias gates
    pair        the case of which this one is the counterfactual

A trained model gives each case one score, higher is better. So overfitting is a difference
between splits, bias one between groups, and a comparison one between models on the same cases,
for text, graphs and agents alike.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from hour9.engine.settings import Source
from hour9.params import UnknownName, read_params

if TYPE_CHECKING:  # importing it costs ten seconds; only `validate` pays them
    from great_expectations.expectations import Expectation

    from hour9.engine.run import Run

__all__ = ["SPLITS", "Source", "Tables", "Task", "load_task", "read_tables", "write_tables"]

SPLITS = ("train", "validation", "test")

Tables = dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Task:
    """A problem with its data. Each function is pure: what it needs comes in, nothing else."""

    name: str
    metric: str
    """What the mean of `score` is called: 'accuracy', 'return'."""

    ingest: Callable[[Source], Tables]
    """Write the tables, `cases` among them, with `split` where the source has a split."""

    contract: Callable[[Tables], dict[str, list[Expectation]]]
    """What must hold, table by table; a column's name may follow from another table."""

    train: Callable[[Run], None]
    """Train one candidate into `run.folder`. The test cases are not in `run.tables`."""

    score: Callable[[Path, Tables], pd.DataFrame]
    """Model folder, tables -> columns case, score and, where there is one, confidence."""

    baseline: Callable[[Tables], pd.DataFrame]
    """The simplest honest competitor, fitted on the train split -> columns case, score; another
    one's scores, to stand beside it, are called baseline.<name>."""

    answer: Callable[[Path], Callable[[pd.DataFrame], pd.DataFrame]]
    """Model folder -> a function from requests to answers, a row each."""

    example: Callable[[Tables], pd.DataFrame]
    """A few requests that `answer` can take: the signature of the registered model."""

    draw: Callable[[Path, Tables, Path], None] | None = None
    """Model folder, tables, a folder that is there -> pictures in it, PNG or GIF: what the model
    looks at. The same model gives the same bytes; the file's name is the picture's title."""

    explain: Callable[[Path], Callable[[str], list[tuple[str, float]]]] | None = None
    """Model folder -> a function from a text to its words, each with what it added to the answer:
    positive where it spoke for the answer, negative where against."""


def load_task(name: str) -> Task:
    """Import `hour9.<topic>.<task>` and return its TASK."""
    tasks = read_params()["tasks"]
    if name not in tasks:
        raise UnknownName(f"no task '{name}' in params.yaml; there are {', '.join(tasks)}")
    return importlib.import_module(f"hour9.{tasks[name]['topic']}.{name}").TASK


def read_tables(folder: Path) -> Tables:
    """All tables of a folder, by name."""
    return {path.stem: pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))}


def write_tables(tables: Tables, folder: Path) -> None:
    """A Parquet file for each table; the same tables give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in sorted(tables.items()):
        table.to_parquet(folder / f"{name}.parquet", index=False)


def without_test(tables: Tables) -> Tables:
    """The tables as a training may see them: no row of any table that names a test case."""
    cases = tables["cases"]
    hidden = cases.loc[cases["split"] == "test", "case"]
    return {
        name: table[~table["case"].isin(hidden)].reset_index(drop=True)
        if "case" in table
        else table
        for name, table in tables.items()
    }
