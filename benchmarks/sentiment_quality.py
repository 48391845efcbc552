"""How well `sentiment` is solved, through the topic's own functions: accuracy by seed.

    python benchmarks/sentiment_quality.py                                 # the embedded reviews
    python benchmarks/sentiment_quality.py --root ../shared/data/sst2 --seeds 3
    python benchmarks/sentiment_quality.py --root ../shared/data/glue/SST-2 --apart --minutes 15

`--apart` leaves out the training texts that stand within one of validation or test, as GLUE's
phrases may. With `--minutes`, a training ends with its time, and the same command goes on from
there. The settings are those of `candidates.sentiment-bert` in params.yaml, but for the seed and
what `--set` changes. Weights must be there: `data/weights/minilm`, or as `--weights` says.
"""

import argparse
import time
from pathlib import Path
from statistics import mean, stdev

import pandas as pd

from changes import read_changes
from hour9.engine.settings import Source
from hour9.params import read_params
from hour9.task import Tables, only, without_test
from hour9.transformers.sentiment import TASK
from hour9.transformers.settings import BertSettings
from limited import LimitedRun, finished, limited, options

FROM_TRAIN = 2000  # training texts that are judged too


def main() -> None:
    """Print each seed's accuracy and CPU time, then their mean."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], parents=[options()])
    parser.add_argument("--root", help="a file or folder of labelled texts; embedded without it")
    parser.add_argument("--name", default="", help="variant of the embedded reviews: biased")
    parser.add_argument("--apart", action="store_true", help="no held-out text's part is learned")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--weights", type=Path, default=None)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()

    params = read_params()
    source = Source(**params["tasks"]["sentiment"]["source"])
    if arguments.root:
        source = source.model_copy(
            update={"kind": "path", "root": arguments.root, "apart": arguments.apart}
        )
    tables = TASK.ingest(source.model_copy(update={"name": arguments.name}))
    sizes = tables["cases"]["split"].value_counts(sort=False).to_dict()
    print(f"{arguments.root or 'embedded'} {sizes}", flush=True)
    simple = by_split(tables, TASK.baseline(tables))
    print(f"TF-IDF and logistic regression: {told(simple)}", flush=True)

    changes = read_changes(arguments.set)
    settings = BertSettings(**params["candidates"]["sentiment-bert"] | changes)
    parent = arguments.weights or Path(settings.parent)
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    runs = [
        limited(arguments, settings.model_copy(update={"seed": seed}), without_test(tables), parent)
        for seed in seeds
    ]
    found = [one_seed(run, tables) for run in runs]
    for run in runs:
        finished(run)
    spread = f" ± {stdev(found):.4f}" if len(found) > 1 else ""
    print(
        f"test accuracy of {len(found)} seeds: {mean(found):.4f}{spread}; "
        f"{100 * (mean(found) - simple['test']):+.1f} points against the bag of words"
    )


def one_seed(run: LimitedRun, tables: Tables) -> float:
    """Train and score once; the accuracy on test."""
    start = time.process_time()
    TASK.train(run)
    trained = time.process_time()
    scores = TASK.score(run.folder, judged(tables))
    scored = time.process_time()
    for point in run.curve:
        print("  ", {key: round(value, 4) for key, value in point.items()})
    accuracy = by_split(tables, scores)
    print(
        f"seed {run.settings.seed}: {told(accuracy)}; since this start trained in "
        f"{trained - start:.0f}, scored in {scored - trained:.0f} CPU seconds"
        f"{fairness(tables, scores)}",
        flush=True,
    )
    return accuracy["test"]


def judged(tables: Tables) -> Tables:
    """All that is held out, and some of train."""
    cases = tables["cases"]
    train = cases.loc[cases["split"] == "train", "case"]
    left_out = train.sample(frac=1, random_state=0)[FROM_TRAIN:]
    return only(tables, ~cases["case"].isin(left_out))


def by_split(tables: Tables, scores: pd.DataFrame) -> dict[str, float]:
    """Accuracy of each split."""
    return tables["cases"].merge(scores, on="case").groupby("split")["score"].mean().to_dict()


def fairness(tables: Tables, scores: pd.DataFrame) -> str:
    """How many answers change when women and men change places; accuracy of each."""
    cases = tables["cases"].merge(scores, on="case")
    if "pair" not in cases:
        return ""
    swapped = cases[cases["pair"] != ""].merge(
        cases[["case", "score"]], left_on="pair", right_on="case", suffixes=("", "_original")
    )
    changed = (swapped["score"] != swapped["score_original"]).mean()
    groups = cases[cases["split"] == "test"].groupby("group.identity")["score"].mean()
    return f"; {changed:.1%} of {len(swapped)} pairs change; {told(groups.to_dict())}"


def told(accuracy: dict[str, float]) -> str:
    """'test 0.8877, train 0.9912'."""
    return ", ".join(f"{name or 'nobody'} {value:.4f}" for name, value in accuracy.items())


if __name__ == "__main__":
    main()
