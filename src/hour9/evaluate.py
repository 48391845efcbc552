"""Evaluate: the evidence table of a candidate, its task's cases with one score each."""

import json
import shutil
from pathlib import Path

import pandas as pd

from hour9.engine.device import prepare_threads
from hour9.engine.settings import load_settings
from hour9.params import DATA, MODELS, REPORTS
from hour9.task import HIDDEN, SPLITS, Tables, Task, load_task, only, read_tables

NOISE_SEED = 9  # of the perturbed cases: the same for all candidates


class IncompleteEvidence(RuntimeError):  # noqa: N818 - reads as a sentence where it is raised
    """Some case has no score, or one that is no number."""


def evaluate(name: str) -> None:
    """Score every case and its baseline; write evidence.parquet, metrics.json and pictures."""
    settings = load_settings(name)
    prepare_threads(settings.threads)
    task = load_task(settings.task)
    tables = read_tables(DATA / settings.task)
    model = MODELS / settings.task / name
    evidence = gather(task, model, tables).assign(megabytes=megabytes(model))
    report = REPORTS / settings.task / name
    report.mkdir(parents=True, exist_ok=True)
    evidence.to_parquet(report / "evidence.parquet", index=False)
    metric = task.metric if isinstance(task.metric, str) else task.metric(tables)
    more = task.measure(model, tables) if task.measure else {}
    metrics = {"metric": metric, **summary(evidence), **more, "megabytes": megabytes(model)}
    (report / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    draw(task, model, tables, report / "pictures")
    print(", ".join(f"{split} {value:.4g}" for split, value in summary(evidence).items()))


def draw(task: Task, model: Path, tables: Tables, pictures: Path) -> None:
    """The task's pictures in a folder of their own, in which a text's dollar is a dollar.

    They are outs: a person's matplotlibrc has no say in their bytes.
    """
    shutil.rmtree(pictures, ignore_errors=True)
    pictures.mkdir()
    if task.draw:
        from matplotlib import rc_context, rcdefaults, rcParams

        with rc_context():
            rcdefaults()
            rcParams["text.parse_math"] = False
            task.draw(model, tables, pictures)


def gather(task: Task, model: Path, tables: Tables) -> pd.DataFrame:
    """The cases with all that the gates may see of them: what the task measures of each, its twin
    in training if it has one, and the score of a test case when perturbed."""
    baseline = task.baseline(tables).rename(columns={"score": "baseline"})
    scores = task.score(model, tables)
    evidence = tables["cases"].merge(scores, on="case", how="left", validate="one_to_one")
    evidence = evidence.merge(baseline, on="case", how="left", validate="one_to_one")
    for column in ("score", "baseline"):
        if evidence[column].isna().any():
            lost = evidence.loc[evidence[column].isna(), "case"].tolist()
            raise IncompleteEvidence(f"{len(lost)} cases have no {column}, e.g. {lost[:3]}")
    if task.fingerprint:
        evidence["twin"] = twins(tables["cases"], task.fingerprint(tables))
    if task.perturb:
        worse = task.score(model, task.perturb(only(tables, asked_once(tables)), NOISE_SEED))
        evidence["perturbed"] = evidence["case"].map(worse.set_index("case")["score"])
    return evidence


def asked_once(tables: Tables) -> pd.Series:
    """Which cases are test cases, and no counterfactuals of others."""
    cases = tables["cases"]
    original = cases["pair"] == "" if "pair" in cases else True
    return (cases["split"] == "test") & original


def twins(cases: pd.DataFrame, prints: pd.DataFrame) -> pd.Series:
    """For each test case one that training sees and that has a fingerprint in common, else ''."""
    hidden = cases["case"][cases["split"].isin(HIDDEN)]
    seen = prints[~prints["case"].isin(hidden)].drop_duplicates("fingerprint")
    known = prints["fingerprint"].map(seen.set_index("fingerprint")["case"])
    found = prints.assign(twin=known).dropna(subset="twin").drop_duplicates("case")
    test = cases["case"].where(cases["split"] == "test")
    return test.map(found.set_index("case")["twin"]).fillna("")


def megabytes(folder: Path) -> float:
    """The size of all files in a folder, in 10^6 bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def summary(evidence: pd.DataFrame) -> dict[str, float]:
    """Mean score of each split, and the baseline's on test. A counterfactual does not count."""
    if "pair" in evidence:
        evidence = evidence[evidence["pair"] == ""]
    means = evidence.groupby("split")["score"].mean()
    test = evidence[evidence["split"] == "test"]
    return {
        **{split: float(means[split]) for split in SPLITS},
        "baseline": float(test["baseline"].mean()),
    }
