"""`hour9 status`: where every candidate stands."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from hour9.dag import Stage


def status(asked: argparse.Namespace) -> int:
    """Print every candidate's standing, and what is stale."""
    from hour9 import dag
    from hour9.params import RECEIPTS, read_params
    from hour9.report import standing

    tasks = list(read_params()["tasks"])  # before DVC, which would speak of dvc.yaml
    try:
        every, stale = dag.survey()
    except dag.Busy as busy:
        print(busy, file=sys.stderr)
        every, stale = dag.stages(), None  # nobody knows
    rows = [
        {**row, **hashes(row), "stale": is_stale(row["candidate"], every, stale)}
        for row in standing()
    ]
    if asked.json:
        print(json.dumps(rows, indent=2))
        return 0
    from hour9.registry.versions import agrees

    show_table(tasks, rows)
    if stale:
        print(f"\n{len(stale)} stages are stale: {', '.join(stale)}\nhour9 run brings them up")
    with_outs = list(dict.fromkeys(row["task"] for row in rows if row["verdict"]))
    if not agrees(RECEIPTS / f"{task}.json" for task in with_outs):
        print("the registry is behind the outs: hour9 run registers them")
    from hour9.registry.promotion import lost_champion

    for task in with_outs:
        if lost := lost_champion(task):
            print(lost)
    return 0


def is_stale(candidate: str, every: list[Stage], stale: dict[str, Any] | None) -> bool | None:
    """Whether a stage that the candidate stands on would run again; None where nobody knows."""
    from hour9 import dag

    if stale is None:
        return None
    its = dag.select(every, candidate=candidate)
    return any(stage.name in stale for stage in its if stage.kind != "report")


def hashes(row: dict[str, Any]) -> dict[str, str | None]:
    """DVC's hashes of the candidate's model and data, as they lie on disk."""
    from hour9.params import DATA, MODELS
    from hour9.registry.lineage import dvc_md5

    folders = {"model_md5": MODELS / row["task"] / row["candidate"], "data_md5": DATA / row["task"]}
    return {name: dvc_md5(path) if path.exists() else None for name, path in folders.items()}


def read_standing() -> list[dict[str, Any]]:
    """The candidates' standing as the report last had it."""
    from hour9.params import STANDING

    if STANDING.exists():
        return json.loads(STANDING.read_text())
    from hour9.report import standing  # pandas takes a second

    return standing()


def show_table(tasks: list[str], rows: list[dict[str, Any]] | None = None) -> None:
    """The candidates of these tasks: score with interval, baseline, verdict, version, alias."""
    from rich.table import Table

    colours = {"pass": "green", "hold": "yellow", "reject": "red"}
    table = Table(box=None, pad_edge=False)
    for heading in ("candidate", "metric on test", "baseline", "verdict", "version", "alias"):
        table.add_column(heading, no_wrap=True)
    for row in read_standing() if rows is None else rows:
        if row["task"] not in tasks:
            continue
        score = "–"
        if row["score"] is not None:
            low, high = row["interval"]
            score = f"{row['metric']} {row['score']:.4g} [{low:.4g}, {high:.4g}]"
        verdict = row["verdict"] or "not judged"
        table.add_row(
            row["candidate"],
            score.replace("[", r"\["),
            "–" if row["baseline"] is None else f"{row['baseline']:.4g}",
            f"[{colours.get(verdict, 'default')}]{verdict}[/]",
            str(row["version"] or "–"),
            ", ".join(row["aliases"]) or "–",
        )
    show(table)


def show(table: Table) -> None:
    """Print a table, whole even where the output is no terminal and has no width."""
    from rich.console import Console

    console = Console()
    wide = Console(width=max(console.width, 130)) if not console.is_terminal else console
    wide.print()
    wide.print(table)
