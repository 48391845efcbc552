"""How much of its teacher `sentiment-student` keeps: on reviews that nobody has seen, by seed.

    python benchmarks/student_quality.py                              # as in params.yaml
    python benchmarks/student_quality.py --seeds 3 --set copies=3

Validation has 300 reviews, too few to tell two settings apart; so these are fresh ones of the
same grammar, with validation's own words and none of test's. The teacher must be there: `hour9 run
--candidate sentiment-bert`, or `--teacher` says where. Divergence: KL from the teacher, in nats.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from changes import read_changes
from hour9.engine.checkpoint import Checkpoint
from hour9.engine.run import Run
from hour9.engine.settings import Source
from hour9.params import read_params
from hour9.task import without_test
from hour9.transformers.classifier import load_classifier
from hour9.transformers.reviews import LABELS, write_reviews
from hour9.transformers.sentiment import TASK
from hour9.transformers.settings import StudentSettings

FRESH, SEED = 24_000, 4242  # reviews drawn, an eighth of them with validation's words


def main() -> None:
    """Print a line for each seed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--teacher", type=Path, default=None)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    params = read_params()
    section = params["candidates"]["sentiment-student"] | read_changes(asked.set)
    settings = StudentSettings(**section)
    teacher = asked.teacher or Path(settings.parent)
    tables = TASK.ingest(Source(**params["tasks"]["sentiment"]["source"]))
    texts, targets = fresh(set(tables["sentences"]["text"]))
    known = load_classifier(teacher).probabilities(texts)  # (N, 2)
    print(f"{len(texts)} fresh reviews, teacher {accuracy(known, targets):.4f}", flush=True)
    for seed in range(asked.seeds):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "student"
            place = Checkpoint(Path(scratch) / "checkpoint")
            started = time.process_time()
            chosen = settings.model_copy(update={"seed": seed})
            TASK.train(Run(chosen, without_test(tables), teacher, folder, place))
            spent = time.process_time() - started
            found = load_classifier(folder).probabilities(texts)
        kept = accuracy(found, targets) / accuracy(known, targets)
        agreed = (found.argmax(axis=1) == known.argmax(axis=1)).mean()
        divergence = (known * (np.log(known) - np.log(found))).sum(axis=1).mean()
        print(
            f"seed {seed}: {accuracy(found, targets):.4f}, {kept:.1%} kept; agreement "
            f"{agreed:.4f}, divergence {divergence:.4f}; trained in {spent:.0f} CPU s",
            flush=True,
        )


def fresh(seen: set[str]) -> tuple[list[str], np.ndarray]:
    """Reviews with validation's words that are in none of the task's splits, and their labels."""
    tables = write_reviews(FRESH, SEED)
    cases = tables["cases"].merge(tables["sentences"], on="case")
    cases = cases[(cases["split"] == "validation") & ~cases["text"].isin(seen)]
    return cases["text"].tolist(), cases["target"].map(LABELS.index).to_numpy()


def accuracy(probabilities: np.ndarray, targets: np.ndarray) -> float:  # (N, K), (N,)
    """Of the likeliest labels."""
    return float((probabilities.argmax(axis=1) == targets).mean())


if __name__ == "__main__":
    main()
