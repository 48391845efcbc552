"""How well `links-gcn` finds held-out edges, beside Adamic–Adar and common neighbours.

    python benchmarks/links_quality.py                                  # digits
    python benchmarks/links_quality.py --root ../shared/data/planetoid --name Cora --seeds 5

A seed is a split of the edges and a training. The settings are those of params.yaml.
"""

import argparse
import contextlib
import io
import tempfile
import time
from pathlib import Path

import pandas as pd

from hour9.engine.checkpoint import Checkpoint
from hour9.engine.run import Run
from hour9.engine.settings import load_settings
from hour9.graphs.links import TASK, on_test, ranking
from hour9.params import read_params
from hour9.task import Source, Tables, without_test


def main() -> None:
    options = read_options()
    section = read_params()["tasks"]["links"]["source"]
    if options.root:
        section |= {"kind": "planetoid", "root": options.root, "name": options.name}
    rows = [
        row
        for seed in range(options.seeds)
        for row in measured(TASK.ingest(Source(**section | {"seed": seed})), seed, options)
    ]
    table = pd.DataFrame(rows).groupby("way", sort=False).agg(["mean", "std"])
    print((100 * table).round(2).to_string())


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--root", default="", help="folder of the Planetoid sets; empty: digits")
    parser.add_argument("--name", default="Cora")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], help="try a setting: hidden=32")
    return parser.parse_args()


def measured(tables: Tables, seed: int, options: argparse.Namespace) -> list[dict[str, object]]:
    """Train one seed; the measures on the test pairs of each way to score them."""
    started = time.process_time()
    settings = load_settings("links-gcn").model_copy(update={"seed": seed})
    for name, value in (one.split("=") for one in options.set):
        old = getattr(settings, name)
        settings = settings.model_copy(update={name: type(old)(value)})
    test = (tables["cases"]["split"] == "test").to_numpy()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        place = Path(folder)
        checkpoint = Checkpoint(place / "checkpoint")
        run = Run(settings, without_test(tables), place, place / "model", checkpoint)
        TASK.train(run)
        right = TASK.score(run.folder, tables)["score"].to_numpy()
        scores, target = on_test(run.folder, tables)
    rows = [{"way": way, **ranking(found, target)} for way, found in scores.items()]
    rows[0]["accuracy"] = right[test].mean()
    rows[1]["accuracy"] = TASK.baseline(tables)["score"].to_numpy()[test].mean()
    seconds = time.process_time() - started
    print(f"seed {seed}: {len(run.curve)} epochs, {seconds:.0f} s of CPU", flush=True)
    return rows


if __name__ == "__main__":
    main()
