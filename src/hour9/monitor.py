"""Monitor: are the requests of late still like what the champion was trained on?

Each number that a request consists of, each dimension of its text and each number of the champion's
answer is compared with the training data (Kolmogorov & Smirnov; a chi-squared test where there are
few values), and the smallest of so many chances is judged by Holm's correction (1979).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hour9.params import DATA
from hour9.task import Answer, Tables, Task

FINE, WATCH, RETRAIN = "fine", "watch", "retrain"
ALPHA = 0.02  # how often requests like the training data are called others
FAR = 0.2  # distance between two distributions, of at most 1, that asks for a new training
MIN_ROWS = 30  # fewer requests say nothing
MOST_ROWS = 5000  # of the training data, drawn
FEW = 20  # different values, up to which a number is taken for a name
DIMENSIONS = 8  # of a text
SEED = 9


class NoRequests(ValueError):  # noqa: N818 - reads as a sentence where it is raised
    """A file that holds no requests, or nothing to compare them with."""


@dataclass(frozen=True)
class Drift:
    """One feature, then and now."""

    feature: str
    distance: float
    """Largest difference of the cumulative distributions; of names, half the sum of all."""
    chance: float
    """Of such a distance where nothing has changed, after the correction for all features."""


@dataclass(frozen=True)
class Found:
    """What the monitor says of a file of requests."""

    task: str
    version: str
    verdict: str
    why: str
    rows: int
    refused: list[str]
    """Rows that break the contract, and how."""
    drifts: list[Drift]
    """Every feature, the most surprising first."""

    def text(self) -> str:
        """For a person, as Markdown."""
        rows = [f"| {d.feature} | {d.distance:.3f} | {d.chance:.2g} |" for d in self.drifts[:10]]
        return "\n".join(
            [
                f"{self.task} version {self.version}: **{self.verdict}**, {self.why}",
                *(f"- refused: {line}" for line in self.refused[:5]),
                "",
                "| feature | distance | chance |",
                "|---|--:|--:|",
                *rows,
            ]
        )

    def as_json(self) -> str:
        return json.dumps(asdict(self), indent=2)


def monitor(name: str, file: Path, alias: str = "") -> Found:
    """Compare a file of requests with the data that the version in charge was trained on."""
    from hour9.ask import in_charge, spread
    from hour9.registry.lineage import dvc_md5
    from hour9.registry.packages import load
    from hour9.registry.reproduce import find
    from hour9.task import load_task, read_tables

    rows = read_file(file)
    address = in_charge(name, alias)
    version = find(address)
    if dvc_md5(DATA / name) != version.tags["hour9.data_md5"]:
        raise NoRequests(f"{DATA / name} is not what {address} was trained on: dvc pull, or train")
    tables, task = read_tables(DATA / name), load_task(name)
    model = load(version)
    columns = columns_of(model)
    rows = [spread(row, columns) for row in rows]
    before = training_requests(task, tables, model.predict)
    kept, refused = contract(model, rows, list(before))
    why = f"{len(kept)} of {len(rows)} requests can be answered; {MIN_ROWS} are needed to say more"
    verdict, drifts = WATCH, []
    if len(kept) >= MIN_ROWS:
        then, now = (features(task, tables, r, model.predict(r)) for r in (before, kept))
        drifts = compare(*numbers(then, now))
        verdict, why = judge(drifts, len(refused))
    return Found(name, address.partition("/")[2], verdict, why, len(rows), refused, drifts)


def columns_of(model: Any) -> list[str]:
    """What the model's signature asks for."""
    return model.metadata.get_input_schema().input_names()


def read_file(file: Path) -> list[dict[str, Any]]:
    """Requests from CSV, Parquet, or JSON lines. Raises NoRequests."""
    try:
        if file.suffix == ".csv":
            # A text may be "N/A"; only an empty cell says nothing.
            rows = records(pd.read_csv(file, keep_default_na=False, na_values=[""]))
        elif file.suffix == ".parquet":
            rows = records(pd.read_parquet(file))
        else:
            lines = file.read_text("utf-8").split("\n")  # JSON may hold what else ends a line
            rows = [json.loads(line) for line in lines if line.strip()]
    except (OSError, ValueError) as error:
        raise NoRequests(f"{file} holds no requests: {error}") from None
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise NoRequests(f"{file} holds no requests: a JSON object a line, CSV or Parquet")
    return rows


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of Python's own values: an empty cell makes no fractions of the numbers beside it."""
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return [{str(name): whole(value) for name, value in row.items()} for row in rows]


def whole(value: Any) -> Any:
    """3.0 as 3."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def training_requests(task: Task, tables: Tables, answer: Answer) -> pd.DataFrame:
    """What the model is asked about the training cases; at most MOST_ROWS of it."""
    cases = tables["cases"]
    seen = {**tables, "cases": cases[cases["split"] == "train"]}
    asked = task.requests(seen, answer).reset_index(drop=True)
    return asked.sample(min(len(asked), MOST_ROWS), random_state=SEED).reset_index(drop=True)


def contract(
    model: Any, rows: list[dict[str, Any]], columns: list[str]
) -> tuple[pd.DataFrame, list[str]]:
    """The requests that the model takes, and why it refuses the others."""
    from hour9.ask import as_asked

    schema = model.metadata.get_input_schema()

    def table(rows: list[dict[str, Any]]) -> pd.DataFrame:
        return as_asked(pd.DataFrame(rows, columns=columns), schema)

    if missing := [name for name in columns if not any(name in row for row in rows)]:
        return table([]), [f"all rows: no column {', '.join(missing)}"]
    recent, refused = table(rows), []
    try:
        model.predict(recent)
    except Exception:  # one row spoils all: ask for each alone
        kept = []
        for number, row in enumerate(rows):
            try:
                model.predict(table([row]))
                kept.append(row)
            except Exception as error:  # whatever its own code raises is its answer
                refused.append(f"row {number}: {str(error).splitlines()[0][:200]}")
        recent = table(kept)
    return recent, refused


def features(
    task: Task, tables: Tables, requests: pd.DataFrame, answers: pd.DataFrame
) -> pd.DataFrame:
    """What is compared: the request as it is, or as the task describes it, and the answer."""
    described = task.describe(tables, requests) if task.describe else requests
    answers = answers.reset_index(drop=True).add_prefix("answer ")
    return pd.concat([described.reset_index(drop=True), answers], axis=1)


def numbers(then: pd.DataFrame, now: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Texts and lists as numbers; both tables by the same rule, found on both together."""
    both = pd.concat([then, now], ignore_index=True)
    columns: dict[str, Any] = {}
    for name, values in both.items():
        first = values.iloc[0]
        if isinstance(first, str) and values.nunique() > FEW:
            columns |= {f"{name} {key}": value for key, value in of_texts(values).items()}
        elif isinstance(first, (list, np.ndarray)):
            lists = np.stack(values.to_numpy()).astype(float)
            columns |= {f"{name} {k}": column for k, column in enumerate(lists.T)}
        else:
            columns[str(name)] = values
    table = pd.DataFrame(columns)
    return table.iloc[: len(then)], table.iloc[len(then) :].reset_index(drop=True)


def of_texts(texts: pd.Series) -> dict[str, np.ndarray]:
    """Length, and the place in a space of few dimensions (latent semantic analysis; Deerwester et
    al. 1990), spanned by old and new texts alike, so that neither is a stranger in it."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), max_features=5000)
    counted = words.fit_transform(texts)
    size = min(DIMENSIONS, counted.shape[1] - 1)
    places = TruncatedSVD(size, random_state=SEED).fit_transform(counted)
    return {
        "length": texts.str.len().to_numpy(float),
        **{f"dimension {k}": column for k, column in enumerate(places.T)},
    }


def compare(then: pd.DataFrame, now: pd.DataFrame) -> list[Drift]:
    """Every feature by its own test, the chances corrected together (Holm 1979)."""
    found = [(name, *two_samples(then[name], now[name])) for name in then]
    found.sort(key=lambda row: row[2])
    drifts, floor = [], 0.0
    for place, (name, distance, chance) in enumerate(found):
        floor = max(floor, min(1.0, chance * (len(found) - place)))
        drifts.append(Drift(str(name), float(distance), float(floor)))
    return drifts


def two_samples(then: pd.Series, now: pd.Series) -> tuple[float, float]:
    """How far apart two samples are, and the chance of that between two of one distribution."""
    from scipy.stats import chi2_contingency, ks_2samp

    names = pd.concat([then, now]).nunique() <= FEW
    if not names and pd.api.types.is_numeric_dtype(then):
        result = ks_2samp(then.dropna(), now.dropna(), method="asymp")
        return result.statistic, result.pvalue
    sides = [side.astype(str).value_counts() for side in (then, now)]
    counts = pd.concat(sides, axis=1).fillna(0).sort_index().to_numpy()  # (values, 2)
    if len(counts) < 2:
        return 0.0, 1.0
    shares = counts / counts.sum(axis=0)
    tested = in_groups(counts)
    chance = chi2_contingency(tested)[1] if len(tested) > 1 else 1.0
    return np.abs(shares[:, 0] - shares[:, 1]).sum() / 2, chance


def in_groups(counts: np.ndarray) -> np.ndarray:  # (values, 2) -> (groups, 2)
    """Common values alone, rare ones together: chi² wants about ten expected among the new.

    Rare ones are put together in the order of their names, which no sample has a hand in.
    """
    expected = counts.sum(axis=1) * counts[:, 1].sum() / counts.sum()
    common = expected >= 10
    rare, room = counts[~common], expected[~common]
    if not len(rare):
        return counts
    group = ((room.cumsum() - room) // 10).astype(int)
    groups = np.zeros((group[-1] + 1, 2))
    np.add.at(groups, group, rare)
    return np.concatenate([counts[common], groups])


def judge(drifts: list[Drift], refused: int) -> tuple[str, str]:
    """The verdict, and why."""
    moved = [drift for drift in drifts if drift.chance < ALPHA]
    far = [drift for drift in moved if drift.distance >= FAR]
    if far:
        worst = max(far, key=lambda drift: drift.distance)
        return RETRAIN, f"{worst.feature} is {worst.distance:.2f} away from the training data"
    if moved:
        return WATCH, f"{len(moved)} features have moved a little, {moved[0].feature} most clearly"
    if refused:
        return WATCH, f"{refused} requests broke the contract; the others are as in training"
    return FINE, f"no feature of {len(drifts)} has moved more than chance would move it"
