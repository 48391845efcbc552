"""Ingest: the raw data of a task, whatever its source, as Parquet tables in data/raw/<task>/."""

from pathlib import Path

import pandas as pd

from hour9.params import RAW, UnknownName, check_relative, read_params
from hour9.task import Source, Tables, Task, load_task, write_tables

FOR_SOME = ("fold", "apart")
"""Settings of a source that only some tasks read."""


def ingest(name: str) -> None:
    """Write the raw tables of the task."""
    task = load_task(name)
    params = read_params()
    source = Source(**params["tasks"][name]["source"])
    check_taken(task, source)
    check_relative(source.root)
    check_relative(params["probes"])
    tables = task.ingest(source)
    if task.probes and "pair" not in tables["cases"]:  # the data brings no counterfactuals
        tables = with_probes(tables, task.probes(Path(params["probes"])))
    write_tables(tables, RAW / name)
    print(", ".join(f"{len(table)} {kind}" for kind, table in sorted(tables.items())))


def check_taken(task: Task, source: Source) -> None:
    """Raises UnknownName where a setting would change nothing."""
    for name in FOR_SOME:
        default = Source.model_fields[name].default
        if name not in task.takes and getattr(source, name) != default:
            raise UnknownName(f"{task.name} does not read source.{name}; leave it at {default}")


def with_probes(tables: Tables, probes: Tables) -> Tables:
    """The tables with the probes' rows below; what only probes have is empty above."""
    joined = {
        name: pd.concat([tables[name], rows], ignore_index=True) for name, rows in probes.items()
    }
    names = [c for c in joined["cases"] if c == "pair" or c.startswith("group.")]
    joined["cases"] = joined["cases"].fillna(dict.fromkeys(names, ""))
    return {**tables, **joined}
