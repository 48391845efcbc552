"""What a run leaves in Prefect: the table of candidates, their verdicts and pictures, links."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from prefect import get_run_logger
from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)

from hour9.pages import ADDRESS, DATA_DOCS
from hour9.params import DATA, REPORTS, STANDING

MLFLOW = "HOUR9_MLFLOW_URL"
"""Where a browser finds MLflow; unset, nothing links to it."""


def draw_data_docs(tasks: dict[str, bool]) -> None:
    """Draw the Data Docs of tasks that were validated anew, or whose pages are older than their
    data, where somebody serves them.

    In processes of their own, as stages are: importing Great Expectations takes seconds, and no
    run fails for its pages.
    """
    for task, anew in tasks.items() if os.environ.get(ADDRESS) else ():
        first = first_page(task)
        drawn = first.exists() and first.stat().st_mtime >= (DATA / task).stat().st_mtime
        if drawn and not anew:
            continue
        command = [sys.executable, "-m", "hour9.stage", "data_docs", task]
        if subprocess.run(command, capture_output=True).returncode:
            get_run_logger().warning(
                f"the Data Docs of {task} were not drawn; hour9 docs {task} says why"
            )


def first_page(task: str) -> Path:
    """Where the Data Docs of a task begin."""
    return DATA_DOCS / task / "index.html"


def publish(candidates: list[str]) -> None:
    """The artifacts of these candidates, from what the report last said of them."""
    rows = [row for row in judged() if row["candidate"] in candidates]
    if not rows:
        return
    create_table_artifact(
        [summary(row) for row in rows], key="candidates", description="Where the candidates stand"
    )
    for row in rows:
        create_markdown_artifact(
            verdicts(row), key=key_of(row["candidate"]), description=row["verdict"]
        )
    if address := os.environ.get(ADDRESS):
        create_link_artifact(f"{address}/", "the report", key="report")
        for task in sorted({row["task"] for row in rows}):
            if first_page(task).exists():
                link = f"{address}/data-docs/{task}/index.html"
                create_link_artifact(link, f"the data of {task}", key=key_of(f"data-docs-{task}"))
        for row in rows:
            for picture in pictures(row):
                url = f"{address}/{quote(picture.relative_to(REPORTS).as_posix())}"
                create_image_artifact(
                    url,
                    key=key_of(f"{row['candidate']}-{picture.stem}"),
                    description=picture.stem.replace("_", " "),
                )


def judged() -> list[dict[str, Any]]:
    """What the report last said of each candidate that has a verdict."""
    rows = json.loads(STANDING.read_text()) if STANDING.exists() else []
    return [row for row in rows if row["verdict"]]


def key_of(title: str) -> str:
    """A title as Prefect lets an artifact be called: lower case, digits and dashes."""
    return re.sub("[^a-z0-9]+", "-", title.lower()).strip("-")


def summary(row: dict[str, Any]) -> dict[str, str]:
    """A candidate as a line of the table."""
    return {
        "candidate": row["candidate"],
        "metric": row["metric"],
        "score": score(row),
        "baseline": f"{row['baseline']:.4g}",
        "verdict": row["verdict"],
        "version": str(row["version"] or "–"),
        "alias": ", ".join(row["aliases"]) or "–",
    }


def score(row: dict[str, Any]) -> str:
    """The score on test with its interval."""
    low, high = row["interval"]
    return f"{row['score']:.4g} [{low:.3g}, {high:.3g}]"


def verdicts(row: dict[str, Any]) -> str:
    """A candidate's gates, and where to look further, as Markdown."""
    lines = [
        f"## {row['candidate']}: {row['verdict']}",
        f"{row['metric']} on test {score(row)}; its baseline {row['baseline']:.4g}",
        "",
        "| gate | verdict | why |",
        "|---|---|---|",
        *(f"| {g['name']} | {g['verdict']} | {g['why'].replace('|', '/')} |" for g in row["gates"]),
        "",
        linked(row),
    ]
    return "\n".join(lines)


def of_version(task: str, number: str) -> str:
    """Where to look further before a version is promoted, as Markdown."""
    rows = [row for row in judged() if (row["task"], str(row["version"])) == (task, number)]
    return "\n".join(map(linked, rows))


def linked(row: dict[str, Any]) -> str:
    """The candidate's links as a list."""
    return "\n".join(f"- [{words}]({link})" for words, link in links(row))


def links(row: dict[str, Any]) -> list[tuple[str, str]]:
    """Addresses of the training's run, the version and the report, where something serves them."""
    found = []
    if (mlflow := os.environ.get(MLFLOW)) and row["version"]:
        run = f"{mlflow}/#/experiments/{row['experiment_id']}/runs/{row['run_id']}"
        version = f"{mlflow}/#/models/{row['task']}/versions/{row['version']}"
        found += [("its run in MLflow", run), (f"version {row['version']} in MLflow", version)]
    if address := os.environ.get(ADDRESS):
        found.append(("the report", f"{address}/#{row['candidate']}"))
    return found


def pictures(row: dict[str, Any]) -> list[Path]:
    """What `evaluate` drew."""
    return sorted((REPORTS / row["task"] / row["candidate"] / "pictures").glob("*.*"))
