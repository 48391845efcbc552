"""What a topic implements. Start here.

A task keeps its data in tables, and one of them is `cases`: a row for each thing that a model is
scored on (a text, a node, an episode), with the columns

    case        a stable name of the row
    split       train, validation, test or probe; empty until `validate` deals it
    target      what the model must find; it stands in this table and in no other
    group.<g>   slices for the bias gates
    pair        the case of which this one is the counterfactual

A trained model gives each case one score, higher is better. So overfitting is a difference
between splits, bias one between groups, and a comparison one between models on the same cases,
for text, graphs and agents alike. A `probe` is a case that asks one thing only, such as whether
an identity matters: it is scored, but neither learned from nor counted.
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

__all__ = [
    "SPLITS",
    "Answer",
    "NoScreen",
    "Source",
    "Tables",
    "Task",
    "load_task",
    "read_tables",
    "write_tables",
]

SPLITS = ("train", "validation", "test")
PROBE = "probe"
HIDDEN = ("test", PROBE)
"""Splits that no training sees."""

Tables = dict[str, pd.DataFrame]
Answer = Callable[[pd.DataFrame], pd.DataFrame]
"""Requests to answers, a row each."""


class NoScreen(RuntimeError):  # noqa: N818 - reads as a sentence where it is raised
    """There is nothing to open a window on."""


@dataclass(frozen=True)
class Task:
    """A problem with its data. Each function is pure: what it needs comes in, nothing else."""

    name: str
    metric: str | Callable[[Tables], str]
    """What the mean of `score` is called: 'accuracy', 'return'. A task whose sets differ in kind
    reads it off the tables."""

    ingest: Callable[[Source], Tables]
    """Write the tables, `cases` among them, with `split` where the source has a split."""

    contract: Callable[[Tables], dict[str, list[Expectation]]]
    """What must hold, table by table; a column's name may follow from another table."""

    train: Callable[[Run], None]
    """Train one candidate into `run.folder`. The test cases are not in `run.tables`."""

    score: Callable[[Path, Tables], pd.DataFrame]
    """Model folder, tables -> columns case, score and, where there are such, `confidence` and
    `output`: the number that the model decided by, in which a counterfactual may move it."""

    baseline: Callable[[Tables], pd.DataFrame]
    """The simplest honest competitor, fitted on the train split -> columns case, score; another
    one's scores, to stand beside it, are called baseline.<name>."""

    answer: Callable[[Path], Callable[[pd.DataFrame], pd.DataFrame]]
    """Model folder -> a function from requests to answers, a row each."""

    example: Callable[[Tables], pd.DataFrame]
    """A few requests that `answer` can take: the signature of the registered model."""

    requests: Callable[[Tables, Answer], pd.DataFrame]
    """Tables, a model's answers -> what it is asked about these cases: what the requests of late
    are compared with. An agent is asked about whatever state its answers lead to."""

    takes: tuple[str, ...] = ()
    """Which of a source's settings `fold` and `apart` it reads."""

    describe: Callable[[Tables, pd.DataFrame], pd.DataFrame] | None = None
    """Numbers for requests that only name something, or hold a structure: what may drift."""

    probes: Callable[[Path], Tables] | None = None
    """A file or folder of the user's, or of ours -> rows for the tables: cases of split probe."""

    fingerprint: Callable[[Tables], pd.DataFrame] | None = None
    """Columns case, fingerprint: cases that have one in common are the same, or nearly. A case may
    have several rows. See sources/fingerprints.py."""

    perturb: Callable[[Tables, int], Tables] | None = None
    """Test cases with their tables, a seed -> the same cases, a little worse to make out."""

    measure: Callable[[Path, Tables], dict[str, float]] | None = None
    """Model folder, tables -> what else is told of the test cases, beside their mean score."""

    draw: Callable[[Path, Tables, Path], None] | None = None
    """Model folder, tables, a folder that is there -> pictures in it, PNG or GIF: what the model
    looks at. The same model gives the same bytes; the file's name is the picture's title."""

    watch: Callable[[Path], float] | None = None
    """Model folder -> play an episode in a window; what it returned. Raises NoScreen."""

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
    return only(tables, ~tables["cases"]["split"].isin(HIDDEN))


def only(tables: Tables, chosen: pd.Series) -> Tables:
    """The chosen cases, and of every table that names cases the rows that name these."""
    cases = tables["cases"].loc[chosen, "case"]
    return {
        name: table[table["case"].isin(cases)].reset_index(drop=True) if "case" in table else table
        for name, table in tables.items()
    }
