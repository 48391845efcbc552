"""How good the agents are, seed by seed: `python benchmarks/rl_quality.py --seeds 10`.

In the world they know, taxi must come within one percent of the exact optimum on the test starts;
cartpole must reach the environment's own threshold on 100 episodes that training never saw.
"""

import argparse
import contextlib
import io
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from hour9.engine.checkpoint import Checkpoint
from hour9.engine.run import Run
from hour9.engine.settings import Source, load_settings
from hour9.params import read_params
from hour9.task import Tables, load_task, without_test
from hour9.validate import deal_splits

CANDIDATES = {"taxi": "taxi-qlearning", "cartpole": "cartpole-dqn"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="seeds 0 to this")
    parser.add_argument("--task", choices=CANDIDATES, help="one task only")
    parser.add_argument("--env", default="", help="another environment for that task")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings")
    chosen = parser.parse_args()
    for task in [chosen.task] if chosen.task else CANDIDATES:
        measure(task, chosen.env, range(chosen.seeds), dict(x.split("=") for x in chosen.set))


def measure(task: str, env: str, seeds: Sequence[int], changed: dict[str, str]) -> None:
    """Train and test once for each seed and say what came out."""
    source = read_params()["tasks"][task]["source"]
    source = Source(**{**source, "env": env or source["env"]})
    tables = deal_splits(load_task(task).ingest(source))
    test = at_home(tables["cases"])
    target = tables["cases"]["target"][test].mean()
    needed = target - 0.01 * abs(target) if task == "taxi" else target
    baseline = load_task(task).baseline(tables)["score"][test].mean()
    print(f"{source.env}: target {target:.4f}, needed {needed:.4f}, baseline {baseline:.4f}")
    found = []
    for seed in seeds:
        score, steps, seconds = once(task, tables, {**changed, "seed": str(seed)})
        found.append(score)
        verdict = "reached" if score >= needed else "missed"
        print(
            f"  seed {seed}: {score:.4f} {verdict}, {steps} steps, {seconds:.1f} CPU s", flush=True
        )
    reached = sum(score >= needed for score in found)
    spread = np.std(found, ddof=1) if len(found) > 1 else 0.0
    print(f"  {np.mean(found):.4f} ± {spread:.4f}, reached by {reached} of {len(found)} seeds")


def at_home(cases: pd.DataFrame) -> pd.Series:
    """The test cases in the world that was trained in."""
    worlds = cases.filter(regex=r"^group\.(world|physics)$")
    return (cases["split"] == "test") & (worlds == "as trained").all(axis=1)


def once(task: str, tables: Tables, changed: dict[str, str]) -> tuple[float, int, float]:
    """Mean test score of one training, its steps, and the CPU seconds it took."""
    settings = load_settings(CANDIDATES[task])
    settings = type(settings)(**{**settings.model_dump(), **changed})
    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(io.StringIO()):
        folder = Path(scratch)
        checkpoint = Checkpoint(folder / "checkpoint")
        run = Run(settings, without_test(tables), folder, folder / "model", checkpoint)
        started = time.process_time()
        load_task(task).train(run)
        seconds = time.process_time() - started
        scores = load_task(task).score(run.folder, tables)["score"]
    return scores[at_home(tables["cases"])].mean(), int(run.curve[-1]["step"]), seconds


if __name__ == "__main__":
    main()
