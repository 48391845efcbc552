"""Ingest: the raw data of a task, whatever its source, as Parquet tables in data/raw/<task>/."""

from pathlib import Path

import pandas as pd

from hour9.params import RAW, check_relative, read_params
from hour9.task import Source, Tables, load_task, write_tables


def ingest(name: str) -> None:
    """Write the raw tables of the task."""
    task = load_task(name)
    params = read_params()
    source = Source(**params["tasks"][name]["source"])
    check_relative(source.root)
    check_relative(params["probes"])
    tables = task.ingest(source)
    if task.probes and "pair" not in tables["cases"]:  # the data brings no counterfactuals
        tables = with_probes(tables, task.probes(Path(params["probes"])))
    write_tables(tables, RAW / name)
    print(", ".join(f"{len(table)} {kind}" for kind, table in sorted(tables.items())))


def with_probes(tables: Tables, probes: Tables) -> Tables:
    """The tables with the probes' rows below; what only probes have is empty above."""
    joined = {
        name: pd.concat([tables[name], rows], ignore_index=True) for name, rows in probes.items()
    }
    names = [c for c in joined["cases"] if c == "pair" or c.startswith("group.")]
    joined["cases"] = joined["cases"].fillna(dict.fromkeys(names, ""))
    return {**tables, **joined}
