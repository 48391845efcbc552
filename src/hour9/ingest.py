"""Ingest: the raw data of a task, whatever its source, as Parquet tables in data/raw/<task>/."""

from hour9.params import RAW, check_relative, read_params
from hour9.task import Source, load_task, write_tables


def ingest(name: str) -> None:
    """Write the raw tables of the task."""
    task = load_task(name)
    source = Source(**read_params()["tasks"][name]["source"])
    check_relative(source.root)
    tables = task.ingest(source)
    write_tables(tables, RAW / name)
    print(", ".join(f"{len(table)} {kind}" for kind, table in sorted(tables.items())))
