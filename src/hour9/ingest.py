"""Ingest: the raw data of a task, whatever its source, as Parquet tables in data/raw/<task>/."""

import os
from pathlib import Path

from hour9.params import RAW, read_params
from hour9.task import Source, load_task, write_tables


class NotRelative(ValueError):  # noqa: N818 - reads as a sentence where it is raised
    """A source path that would write this machine's folders into dvc.lock."""


def ingest(name: str) -> None:
    """Write the raw tables of the task."""
    task = load_task(name)
    source = Source(**read_params()["tasks"][name]["source"])
    check_relative(source.root)
    tables = task.ingest(source)
    write_tables(tables, RAW / name)
    print(", ".join(f"{len(table)} {kind}" for kind, table in sorted(tables.items())))


def check_relative(root: str) -> None:
    """An absolute path would make dvc.lock differ from machine to machine."""
    path = Path(root)
    if path.is_absolute():
        raise NotRelative(
            f"source.root is the absolute path {root}; write it relative to the project: "
            f"{os.path.relpath(path)}"
        )
