"""How well the candidates of `molecules` do on real sets, beside a machine blind to structure.

MUTAG and PROTEINS: stratified 10-fold cross-validation. Within the training part of a fold, three
members are trained, each with another third to validate on; the thirds choose the epoch and, by
the members' likelihood on them, the settings. The ensemble of the members answers for the test
fold, which nothing has seen. ESOL: random 80/10/10 splits, two seeds of either candidate alone and
all four together; the same molecule is never in two splits.

    python benchmarks/molecules_quality.py --root ../shared/data/tudataset --name MUTAG
    python benchmarks/molecules_quality.py --root ../shared/data/tudataset --name PROTEINS
    python benchmarks/molecules_quality.py --root ../shared/data/moleculenet/graphs_npz --name esol
    python benchmarks/molecules_quality.py --short          # seconds, on the embedded molecules

What is done is kept in .hour9/molecules_quality, so that an interrupted run goes on.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # read by torch and its libraries when they are loaded
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # by NumPy

import argparse
import contextlib
import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from hour9.engine.checkpoint import Checkpoint
from hour9.engine.run import Run
from hour9.engine.settings import load_settings
from hour9.graphs.blind import PENALTIES, counts, support_vectors
from hour9.graphs.molecules import TASK, estimates
from hour9.params import STATE, read_params
from hour9.task import Source, Tables, without_test
from hour9.validate import deal_splits
from limited import digest

DONE = STATE / "molecules_quality"
FOLDS, MEMBERS, SEEDS = 10, 3, 2
PUBLISHED = {"MUTAG": "GIN 89.4 (Xu et al. 2019)", "PROTEINS": "GIN 76.2 (Xu et al. 2019)"}
GRIDS: dict[str, list[dict[str, Any]]] = {
    name: [
        {"layers": layers, "hidden": hidden, "dropout": 0.5, "epochs": epochs, "batch_size": 64}
        for layers in (2, 4)
    ]
    for name, hidden, epochs in (("MUTAG", 32, 50), ("PROTEINS", 16, 25))
}
ESOL: dict[str, dict[str, Any]] = {
    "molecules-mpnn": {"hidden": 64, "learning_rate": 2e-3, "epochs": 60},
    "molecules-gin": {"hidden": 64, "learning_rate": 2e-3, "epochs": 40},
}
SHORT: dict[str, Any] = {"hidden": 8, "epochs": 2}


def main() -> None:
    options = read_options()
    if options.short:
        section = read_params()["tasks"]["molecules"]["source"] | {"size": 100}
        estimate(section, {name: SHORT for name in ESOL}, splits=1)
        return
    section = {"kind": "path", "root": options.root, "name": options.name}
    if options.name in GRIDS:
        cross_validate(section, GRIDS[options.name])
    else:
        estimate(section, ESOL, options.splits)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--root", default="../shared/data/tudataset")
    parser.add_argument("--name", default="MUTAG", help="MUTAG, PROTEINS or esol")
    parser.add_argument("--splits", type=int, default=3, help="random splits of esol")
    parser.add_argument("--short", action="store_true", help="seconds, on the embedded molecules")
    return parser.parse_args()


def cross_validate(section: dict[str, Any], grid: list[dict[str, Any]]) -> None:
    """Accuracy of ensembles and of their members over ten folds, and of the machine blind to
    structure."""
    tables = TASK.ingest(Source(**section))
    target = tables["cases"]["target"].to_numpy()
    x = counts(tables)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    found = []
    print("fold  chosen                      three GINs  one GIN  blind")
    for number, (rest, test) in enumerate(folds.split(x, target)):
        members, chosen = members_of(tables, rest, grid, number)
        labels = np.unique(target)
        together, *singles = (
            float((labels[said[test].argmax(1)] == target[test]).mean())
            for said in (members.mean(axis=0), *members)
        )
        inner = StratifiedKFold(MEMBERS, shuffle=True, random_state=number)
        blind = GridSearchCV(support_vectors(1.0, True), {"svc__C": PENALTIES}, cv=inner)
        blind.fit(x[rest], target[rest])
        row = (together, float(np.mean(singles)), float(blind.score(x[test], target[test])))
        found.append(row)
        print(f"{number:4}  {chosen!s:30}  {row[0]:.3f}    {row[1]:.3f}  {row[2]:.3f}", flush=True)
    ours, single, blind_scores = np.array(found).T
    name = section["name"]
    print(f"{name}: three GINs {percent(ours)}, one of them {percent(single)}")
    print(f"  blind to structure {percent(blind_scores)}")
    print(f"  difference {percent(ours - blind_scores)}; published: {PUBLISHED[name]}")


def percent(values: np.ndarray) -> str:
    """Mean and standard error."""
    return f"{100 * values.mean():.1f} ± {100 * values.std(ddof=1) / len(values) ** 0.5:.1f} %"


def members_of(
    tables: Tables, rest: np.ndarray, grid: list[dict[str, Any]], seed: int
) -> tuple[np.ndarray, dict[str, Any]]:  # (MEMBERS, G, K)
    """The probabilities that the members with the likeliest settings give, and these settings."""
    target = tables["cases"]["target"].to_numpy()
    number = np.unique(target, return_inverse=True)[1]
    inner = StratifiedKFold(MEMBERS, shuffle=True, random_state=seed)
    parts = [rest[part] for _, part in inner.split(rest, target[rest])]
    results = []
    for change in grid:
        settings = settings_of("molecules-gin", change, seed)
        members = []
        for part in parts:
            split = np.full(len(target), "test", dtype=object)
            split[rest] = "train"
            split[part] = "validation"
            members.append(trained(settings, tables, split))
        likelihood = np.mean(
            [
                np.log(m[part, number[part]] + 1e-9).mean()
                for m, part in zip(members, parts, strict=True)
            ]
        )
        results.append((likelihood, np.stack(members), change))
    _, members, change = max(results, key=lambda result: result[0])
    return members, {name: change[name] for name in change if len({str(c[name]) for c in grid}) > 1}


def estimate(section: dict[str, Any], changes: dict[str, dict[str, Any]], splits: int) -> None:
    """Root mean squared errors on test: of single networks, of all together, of the blind."""
    print("split  validation  all  " + "  ".join(changes) + "  blind", flush=True)
    found = []
    for seed in range(splits):
        tables = deal_splits(TASK.ingest(Source(**section | {"seed": seed})))
        cases = tables["cases"]
        target, split = cases["target"].to_numpy(), cases["split"].to_numpy()
        test = split == "test"
        singles = {
            name: [
                trained(settings_of(name, change, member), tables, split)[:, 0]
                for member in range(SEEDS)
            ]
            for name, change in changes.items()
        }
        error = np.mean([output for outputs in singles.values() for output in outputs], 0) - target
        row = [rmse(error[split == "validation"]), rmse(error[test])]
        row += [
            float(np.mean([rmse((output - target)[test]) for output in outputs]))
            for outputs in singles.values()
        ]
        found.append([*row, rmse(TASK.baseline(tables)["score"].to_numpy()[test])])
        print(f"{seed:5}  " + "  ".join(f"{value:.3f}" for value in found[-1]), flush=True)
    print("mean   " + "  ".join(f"{value:.3f}" for value in np.mean(found, axis=0)))


def settings_of(candidate: str, change: dict[str, Any], seed: int) -> Any:
    """The candidate's settings, changed; every epoch is tried."""
    change = {"patience": change["epochs"], **change, "seed": seed}
    return load_settings(candidate).model_copy(update=change)


def rmse(errors: np.ndarray) -> float:
    return float(np.sqrt((errors**2).mean()))


def trained(settings: Any, tables: Tables, split: np.ndarray) -> np.ndarray:  # (G, K)
    """What a network of these settings says of every case; read back where it was done before."""
    tables = {**tables, "cases": tables["cases"].assign(split=split)}
    kept = DONE / f"{key(settings, tables)}.npy"
    if kept.exists():
        return np.load(kept, allow_pickle=False)
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(io.StringIO()):
        folder = Path(name)
        checkpoint = Checkpoint(folder / "checkpoint")
        TASK.train(Run(settings, without_test(tables), folder, folder / "model", checkpoint))
        found = estimates(folder / "model", tables)
    kept.parent.mkdir(parents=True, exist_ok=True)
    np.save(kept, found)
    return found


def key(settings: Any, tables: Tables) -> str:
    """Names a training by its settings, its data and the code."""
    said = digest(settings, tables)
    for path in sorted(Path("src/hour9").glob("[eg]*/*.py")):  # engine, gates and graphs
        said.update(path.read_bytes())
    return said.hexdigest()[:32]


if __name__ == "__main__":
    main()
