"""Evaluate: the evidence table of a candidate, its task's cases with one score each."""

import json
import shutil
from pathlib import Path

import pandas as pd

from hour9.engine.device import prepare_threads
from hour9.engine.settings import load_settings
from hour9.params import DATA, MODELS, REPORTS
from hour9.task import SPLITS, Tables, Task, load_task, read_tables


class IncompleteEvidence(RuntimeError):  # noqa: N818 - reads as a sentence where it is raised
    """Some case has no score, or one that is no number."""


def evaluate(name: str) -> None:
    """Score every case and its baseline; write evidence.parquet, metrics.json and pictures."""
    settings = load_settings(name)
    prepare_threads(settings.threads)
    task = load_task(settings.task)
    tables = read_tables(DATA / settings.task)
    evidence = gather(task, MODELS / settings.task / name, tables)
    report = REPORTS / settings.task / name
    report.mkdir(parents=True, exist_ok=True)
    evidence.to_parquet(report / "evidence.parquet", index=False)
    metrics = {"metric": task.metric, **summary(evidence)}
    (report / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    pictures = report / "pictures"
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir()
    if task.draw:
        task.draw(MODELS / settings.task / name, tables, pictures)
    print(", ".join(f"{split} {value:.4g}" for split, value in summary(evidence).items()))


def gather(task: Task, model: Path, tables: Tables) -> pd.DataFrame:
    """The cases with the columns score, baseline and what else the task measures of each."""
    baseline = task.baseline(tables).rename(columns={"score": "baseline"})
    scores = task.score(model, tables)
    evidence = tables["cases"].merge(scores, on="case", how="left", validate="one_to_one")
    evidence = evidence.merge(baseline, on="case", how="left", validate="one_to_one")
    for column in ("score", "baseline"):
        if evidence[column].isna().any():
            lost = evidence.loc[evidence[column].isna(), "case"].tolist()
            raise IncompleteEvidence(f"{len(lost)} cases have no {column}, e.g. {lost[:3]}")
    return evidence


def summary(evidence: pd.DataFrame) -> dict[str, float]:
    """Mean score of each split, and the baseline's on the test cases."""
    means = evidence.groupby("split")["score"].mean()
    test = evidence[evidence["split"] == "test"]
    return {
        **{split: float(means[split]) for split in SPLITS},
        "baseline": float(test["baseline"].mean()),
    }
