"""How well `vision-vit` reads images, beside classical methods: accuracy on test, seed by seed.

    python benchmarks/vision_quality.py --seeds 5                          # scikit-learn's digits
    python benchmarks/vision_quality.py --root ../shared/data/images/MNIST/raw \
        --set patch=4 --set epochs=3 --set batch_size=128 --seeds 1        # MNIST, minutes

All are judged on the same images; each chooses its settings, and the ViT its epoch, on validation
alone. The ViT learns from all training images (`--train` says of how many) and chooses on all of
validation, its rivals on 5,000 and 2,000 of them at most. With `--minutes`, a training ends with
its time, and the same command goes on.
"""

import argparse
import contextlib
import io
import time

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from changes import read_changes
from hour9.engine.settings import Source, load_settings
from hour9.params import read_params
from hour9.task import SPLITS, Tables, without_test
from hour9.transformers.settings import VitSettings
from hour9.transformers.vision import ENOUGH, TASK, pixels_of
from hour9.validate import deal_splits
from limited import LimitedRun, finished, limited, options

TO_CHOOSE = 2000  # of the validation images: an SVC reads 10,000 in a minute, and there are twelve
RIVALS = {
    "logistic regression": [LogisticRegression(C=c, max_iter=1000) for c in (0.1, 1, 10, 100)],
    "nearest neighbours": [KNeighborsClassifier(k) for k in (1, 3, 5, 10)],
    "tuned SVC": [SVC(C=c, gamma=g) for c in (1, 10, 100) for g in ("scale", 0.02, 0.05, 0.1)],
}


def main() -> None:
    """Print a line for each method, and one for each seed of the ViT."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], parents=[options()])
    parser.add_argument("--root", help="idx files or class folders; the digits without it")
    parser.add_argument("--train", type=int, default=0, help="training images at most; 0: all")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--short", action="store_true", help="300 digits, two epochs, one seed")
    asked = parser.parse_args()
    source = Source(**read_params()["tasks"]["vision"]["source"])
    if asked.root:
        source = source.model_copy(update={"kind": "path", "root": asked.root})
    if asked.short:
        source, asked.seeds, asked.set = source.model_copy(update={"size": 300}), 1, ["epochs=2"]
    tables = deal_splits(TASK.ingest(source))
    tables = fewer(tables, asked.train or len(tables["cases"]))
    print(tables["cases"]["split"].value_counts().to_dict(), flush=True)
    for name, models in RIVALS.items():
        started = time.process_time()
        reached = rival(fewer(tables, ENOUGH), models)
        print(f"{name:20} {reached:.4f}  {time.process_time() - started:.0f} CPU s", flush=True)
    changes = read_changes(asked.set)
    section = load_settings("vision-vit").model_dump() | changes
    runs = [
        limited(asked, VitSettings(**section | {"seed": seed}), without_test(tables), asked.state)
        for seed in range(asked.seeds)
    ]
    found = [one_seed(run, tables) for run in runs]
    for run in runs:
        finished(run)
    print(f"{'vision-vit':20} {np.mean(found):.4f} ± {np.std(found):.4f} over {len(found)} seeds")


def fewer(tables: Tables, most: int) -> Tables:
    """So many of the training images; all others as they are."""
    train = tables["cases"].query("split == 'train'")["case"]
    left_out = set(train.sample(frac=1, random_state=0)[most:])
    return {name: table[~table["case"].isin(left_out)] for name, table in tables.items()}


def rival(tables: Tables, models: list) -> float:
    """Test accuracy of the model that is best on validation."""
    data, pixels = pixels_of(tables)
    x, target = pixels.reshape(len(data), -1) / 255, data["target"].to_numpy()
    train, held, test = (np.flatnonzero(data["split"] == s) for s in SPLITS)
    held = np.random.default_rng(0).permutation(held)[:TO_CHOOSE]
    fitted = [model.fit(x[train], target[train]) for model in models]
    best = max(fitted, key=lambda model: model.score(x[held], target[held]))
    return best.score(x[test], target[test])


def one_seed(run: LimitedRun, tables: Tables) -> float:
    """Test accuracy of one training."""
    started = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        TASK.train(run)
    seconds = time.process_time() - started
    scores = tables["cases"].merge(TASK.score(run.folder, tables), on="case")
    means = scores.groupby("split")["score"].mean()
    print(
        f"  seed {run.settings.seed}: {means.round(4).to_dict()}, {seconds:.0f} CPU s", flush=True
    )
    return float(means["test"])


if __name__ == "__main__":
    main()
