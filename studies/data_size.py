"""How much data does it take? What reading before saves in labels.

The same reviews, the same test texts, fewer and fewer labels: a BERT that was pre-trained, an
encoder that starts from random weights and learns its vocabulary too, and a bag of words. A test
text has words that no training review shows; only pre-training can have taught what they mean.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from hour9.engine.checkpoint import Checkpoint
from hour9.engine.run import Run
from hour9.engine.settings import Source, settings_class
from hour9.params import read_params
from hour9.task import Tables, without_test
from hour9.transformers.sentiment import TASK
from hour9.transformers.settings import WeightsConfig
from hour9.weights import bring, find
from study import COLOURS, HERE, asked, interval

PARAMS = read_params(HERE.parent / "params.yaml")
REVIEWS = 2000
EPOCHS = {  # labels: passes over them, pre-trained and from scratch; few labels, more passes
    50: (8, 40),
    150: (5, 30),
    450: (3, 20),
    1000: (2, 12),
}
VALIDATION, TEST = 60, 10_000  # texts at most; the first choose the epoch
KINDS = {
    "sentiment-bert": "pre-trained, fine-tuned",
    "sentiment-encoder": "from scratch",
    "words": "bag of words",
}


def main() -> None:
    """Draw test accuracy against the number of labelled reviews."""
    options = asked(__doc__)
    epochs = {10: (1, 1), 20: (1, 1)} if options.short else EPOCHS
    seeds = range(2 if options.short else 3)
    with tempfile.TemporaryDirectory() as scratch:
        config = WeightsConfig(**PARAMS["weights"]["minilm"])
        weights = Path(scratch) / "weights"
        bring(find("minilm", config), weights, config.sha256, "minilm")
        points = [
            measure(kind, size, passes, seeds, weights, options.short)
            for size, passes in epochs.items()
            for kind in KINDS
        ]
    options.save("data_size", draw(points), points)


def measure(
    kind: str, size: int, passes: tuple[int, int], seeds: range, weights: Path, short: bool
) -> dict[str, Any]:
    """Test accuracy with `size` labels, over seeds that choose the labels too."""
    source = Source(root="", size=REVIEWS)
    found = []
    for seed in seeds:
        tables = with_labels(
            TASK.ingest(source), size, seed, (10, 10) if short else (VALIDATION, TEST)
        )
        if kind == "words":
            scores = TASK.baseline(tables)
        else:
            epochs = passes[0 if kind == "sentiment-bert" else 1]
            scores = trained(kind, tables, {"seed": seed, "epochs": epochs}, weights)
        cases = tables["cases"].merge(scores, on="case")
        found.append(cases.loc[cases["split"] == "test", "score"].mean())
    mean, low, high = interval(found)
    return {"model": KINDS[kind], "labels": size, "mean": mean, "low": low, "high": high,
            "seeds": len(found)}  # fmt: skip


def with_labels(tables: Tables, size: int, seed: int, held: tuple[int, int]) -> Tables:
    """The tables with that many training cases, drawn by the seed, and at most so many held out."""
    chance = np.random.default_rng(seed)
    cases = tables["cases"]
    assert (cases["split"] == "train").sum() >= size  # else a point stands at the wrong place
    wanted = {"train": size, "validation": held[0], "test": held[1]}
    kept = [
        rows.iloc[np.sort(chance.permutation(len(rows))[: wanted[split]])]
        for split, rows in cases.groupby("split", sort=False)
    ]
    chosen = {row for rows in kept for row in rows["case"]}
    return {name: table[table["case"].isin(chosen)] for name, table in tables.items()}


def trained(kind: str, tables: Tables, changed: dict[str, Any], weights: Path):
    """Scores of a candidate with the settings of params.yaml, but for what is changed."""
    section = PARAMS["candidates"][kind] | changed | {"device": "cpu"}
    settings = settings_class("transformers", section["architecture"])(**section)
    with tempfile.TemporaryDirectory() as scratch:
        folder, checkpoint = Path(scratch) / "model", Checkpoint(Path(scratch) / "checkpoint")
        TASK.train(Run(settings, without_test(tables), weights, folder, checkpoint))
        return TASK.score(folder, tables)


def draw(points: list[dict[str, Any]]) -> Figure:
    """One line a model, a band where its mean lies."""
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axis = figure.subplots()
    for name, colour in zip(KINDS.values(), COLOURS, strict=False):
        line = [point for point in points if point["model"] == name]
        labels = [point["labels"] for point in line]
        axis.plot(labels, [p["mean"] for p in line], "o-", color=colour, label=name)
        low, high = [p["low"] for p in line], [p["high"] for p in line]
        axis.fill_between(labels, low, high, color=colour, alpha=0.2, linewidth=0)
    axis.set(xscale="log", xlabel="labelled reviews to learn from", ylabel="accuracy on test")
    axis.set_title("How many labels does it take?")
    axis.set_xticks(labels, [str(size) for size in labels])
    axis.minorticks_off()
    axis.set_ylim(min(0.4, *(point["low"] for point in points)), 1.0)
    axis.axhline(0.5, color="grey", linestyle=":", linewidth=1)
    axis.annotate("guessing", (labels[1], 0.49), verticalalignment="top", fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()
