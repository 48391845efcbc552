"""Asking a registered version: `hour9 predict`, `hour9 serve`, `hour9 watch`."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.types.schema import Schema


def predict(asked: argparse.Namespace) -> int:
    """Load a version from the registry and answer, a JSON line for each row."""
    import mlflow
    import pandas as pd

    from hour9.registry.packages import load
    from hour9.registry.reproduce import find

    address = in_charge(asked.task, asked.alias)
    try:
        model = load(find(address))
        schema = model.metadata.get_input_schema()
        columns = schema.input_names()
        rows = [spread(row, columns) for row in read_requests(asked.request)]
        refuse_unknown(rows, columns)
        requests = as_asked(pd.DataFrame(rows), schema)
        answers = model.predict(requests)
        print(f"{address} answers", file=sys.stderr)
        print(answers.to_json(orient="records", lines=True), end="", flush=True)
        for text in requests.get("text", [""]) if asked.explain else []:
            show_words(model.unwrap_python_model().explain(text))
    except (mlflow.MlflowException, ValueError) as error:
        raise NoAnswer(f"{address}: {error}") from None
    return 0


def monitor(asked: argparse.Namespace) -> int:
    """Say fine, watch or retrain, and why; status 1 where a new training is asked for."""
    from pathlib import Path

    from hour9.config import check_task
    from hour9.monitor import RETRAIN
    from hour9.monitor import monitor as look

    found = look(check_task(asked.task), Path(asked.file), asked.alias)
    print(found.as_json() if asked.json else found.text())
    return 1 if found.verdict == RETRAIN else 0


def serve(asked: argparse.Namespace) -> int:
    """Serve until stopped."""
    from hour9.config import check_task
    from hour9.serve import serve as answer

    return answer(in_charge(check_task(asked.task), asked.alias), asked.port)


def in_charge(task: str, alias: str) -> str:
    """TASK/NUMBER of the version that an alias names; else of the champion, or the challenger."""
    from hour9.registry.versions import aliases

    found = aliases(task)
    for name in [alias] if alias else ["champion", "challenger"]:
        if name in found:
            return f"{task}/{found[name]}"
    known = ", ".join(found) or "none: no candidate passed its gates"
    raise NoAnswer(f"{task} has no {alias or 'champion or challenger'}; its aliases: {known}")


def read_requests(written: str) -> list[dict[str, Any]]:
    """JSON rows or texts, or one text as it stands. ValueError for what begins as a row and is
    none, for a list of both, and for an empty one."""
    if any("\ud800" <= letter <= "\udfff" for letter in written):
        raise ValueError("the request holds bytes that are no UTF-8; send it as UTF-8")
    try:
        rows = json.loads(written)
    except ValueError as error:
        if written.lstrip().startswith("{"):
            raise ValueError(f"the request begins as JSON but is none: {error}") from None
        rows = written
    if not isinstance(rows, list):
        return [rows] if isinstance(rows, dict) else [{"text": written}]
    if not rows:
        raise ValueError("the list of requests is empty; send a row or a text in it")
    kinds = {type(row) for row in rows}
    if kinds == {str}:
        return [{"text": row} for row in rows]
    if kinds != {dict}:
        raise ValueError("a list holds rows alone or texts alone; this one does not")
    return rows


def as_asked(requests: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Whole numbers as fractions where the model takes those: MLflow's check refuses 2 for 2.0."""
    from mlflow.types import DataType

    whole = requests.select_dtypes("integer").columns
    fractions = [column.name for column in schema.inputs if column.type == DataType.double]
    return requests.astype(dict.fromkeys(whole.intersection(fractions), float))


def show_words(words: list[tuple[str, float]]) -> None:
    """Green for what spoke for the answer, red for what spoke against; numbers for a program."""
    from rich.console import Console
    from rich.text import Text

    read = [(word, value) for word, value in words if not math.isnan(value)]
    if len(read) < len(words):
        told = f"{len(words) - len(read)} of {len(words)} words were not read"
        print(f"{told}: the text is longer than what the model reads", file=sys.stderr)
    console = Console()
    if not console.is_terminal:
        for word, value in words:
            print("nan" if math.isnan(value) else f"{value:+.3f}", word)
        return
    most = max((abs(value) for _, value in read), default=1.0) or 1.0
    line = Text()
    for word, value in words:
        if math.isnan(value):
            line.append(word, "dim strike").append(" ")
            continue
        strength = round(160 * abs(value) / most)
        colour = f"rgb(0,{strength},0)" if value > 0 else f"rgb({strength},0,0)"
        line.append(word, f"white on {colour}").append(" ")
    console.print(line)


def spread(row: dict[str, Any], columns: Collection[str]) -> dict[str, Any]:
    """A list that is no column of the model's stands for numbered ones: observation →
    observation_0, …"""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        flat |= (
            {f"{name}_{n}": part for n, part in enumerate(value)}
            if isinstance(value, list) and name not in columns
            else {name: value}
        )
    return flat


def refuse_unknown(rows: Iterable[dict[str, Any]], columns: Collection[str]) -> None:
    """ValueError for a field that the model has no column for: misspelled, it would count for
    nothing."""
    if unknown := sorted({name for row in rows for name in row} - {*columns}):
        raise ValueError(f"a request has no {', '.join(unknown)}; it has {', '.join(columns)}")


class NoAnswer(RuntimeError):  # noqa: N818 - reads as a sentence where it is raised
    """No such version, or a request that its signature does not take."""


def watch(asked: argparse.Namespace) -> int:
    """Play an episode in a window; where there is no screen, name the animation."""
    from hour9.params import MODELS, RECEIPTS, REPORTS
    from hour9.task import NoScreen, load_task

    task = load_task(asked.task)
    if task.watch is None:
        raise NoAnswer(f"{asked.task} plays no episodes: there is nothing to watch")
    receipt = RECEIPTS / f"{asked.task}.json"
    if not receipt.exists():
        raise NoAnswer(f"{asked.task} has no agent: hour9 run --task {asked.task}")
    best = json.loads(receipt.read_text())["challenger"]
    if best is None:
        raise NoAnswer(
            f"{asked.task} has no challenger: no candidate passed its gates; hour9 status says why"
        )
    model = MODELS / asked.task / best
    if not model.exists():
        raise NoAnswer(f"{model} is not here; hour9 run --candidate {best}, or dvc pull")
    try:
        print(f"{best} returned {task.watch(model):g}")
    except NoScreen as error:
        film = next((REPORTS / asked.task / best / "pictures").glob("*.gif"), None)
        where = f"is filmed in {film}" if film else f"can be filmed: hour9 run --candidate {best}"
        raise NoAnswer(f"{error}; an episode of {best} {where}") from None
    return 0
