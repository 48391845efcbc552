"""How well a candidate of `nodes` classifies: each seed's accuracy, their mean and deviation.

The settings are those of params.yaml; the epoch is chosen on the validation nodes alone.

    python benchmarks/nodes_quality.py                                    # nodes-gcn, digits
    python benchmarks/nodes_quality.py --candidate nodes-gat
    python benchmarks/nodes_quality.py --root ../shared/data/planetoid --name Cora --seeds 10
"""

import argparse
import contextlib
import io
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from hour9.engine.checkpoint import Checkpoint
from hour9.engine.run import Run
from hour9.engine.settings import Supervised, load_settings
from hour9.graphs.nodes import TASK
from hour9.params import read_params
from hour9.task import Source, Tables, without_test

RESAMPLES = 10_000


def main() -> None:
    options = read_options()
    section = read_params()["tasks"]["nodes"]["source"]
    if options.root:
        section |= {"kind": "planetoid", "root": options.root, "name": options.name}
    tables = TASK.ingest(Source(**section))
    settings = load_settings(options.candidate)
    settings = settings.model_copy(update=dict(options.set or []))
    baseline = tables["cases"].merge(TASK.baseline(tables), on="case")
    print("seed  train  valid   test  baseline  gain of test [95 % paired]   CPU s  epochs")
    seen = [
        report(settings.model_copy(update={"seed": seed}), tables, baseline)
        for seed in range(options.first, options.first + options.seeds)
    ]
    for name in ("validation", "test"):
        values = np.array([means[name] for means in seen])
        spread = values.std(ddof=1) if len(values) > 1 else 0.0
        print(f"{name}: {100 * values.mean():.2f} ± {100 * spread:.2f} % over {len(values)} seeds")


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--candidate", default="nodes-gcn")
    parser.add_argument("--root", default="", help="folder of the Planetoid sets; empty: digits")
    parser.add_argument("--name", default="Cora")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--set", type=setting, action="append", help="try a setting: hidden=32")
    return parser.parse_args()


def setting(text: str) -> tuple[str, int | float]:
    """`hidden=32` as a pair."""
    name, value = text.split("=")
    return name, float(value) if "." in value or "e" in value else int(value)


def report(settings: Supervised, tables: Tables, baseline: pd.DataFrame) -> pd.Series:
    """Train one seed, print its line and return the mean score of each split."""
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(
            settings=settings,
            tables=without_test(tables),
            parent=Path(folder),
            folder=Path(folder) / "model",
            checkpoint=Checkpoint(Path(folder) / "checkpoint"),
        )
        with contextlib.redirect_stdout(io.StringIO()):
            TASK.train(run)
        seconds = time.process_time() - started
        scores = baseline.merge(TASK.score(run.folder, tables), on="case", suffixes=("_base", ""))
    means = scores.groupby("split")[["score", "score_base"]].mean()
    low, high = paired_interval(scores[scores["split"] == "test"])
    train, validation, test = means["score"][["train", "validation", "test"]]
    print(
        f"{settings.seed:4}  {train:.3f}  {validation:.3f}  {test:.4f}  "
        f"{means['score_base']['test']:8.4f}  {test - means['score_base']['test']:+.4f} "
        f"[{low:+.4f}, {high:+.4f}]  {seconds:8.1f}  {len(run.curve):6}",
        flush=True,
    )
    return means["score"]


def paired_interval(scores: pd.DataFrame) -> tuple[float, float]:
    """Bootstrap over the test cases of the difference to the baseline."""
    difference = (scores["score"] - scores["score_base"]).to_numpy()
    chosen = np.random.default_rng(0).integers(len(difference), size=(RESAMPLES, len(difference)))
    low, high = np.quantile(difference[chosen].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


if __name__ == "__main__":
    main()
