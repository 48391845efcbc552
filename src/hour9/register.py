"""Register: make the registry agree with the outs of a task.

Every candidate that was judged on the data that lie here becomes a version, with its lineage and
its verdict: a reject is a result, not an error. `challenger` is the passing candidate that is best
on validation; the test split chose nothing.
"""

import json
from typing import Any

from hour9.engine.settings import load_settings
from hour9.params import DATA, MODELS, RECEIPTS, REPORTS, read_params
from hour9.registry.versions import (
    Judged,
    ensure_version,
    judged,
    of_these_data,
    set_challenger,
)
from hour9.task import load_task, read_tables

UPDATE = "hour9 run --candidate"


def register(name: str, rebuild: bool = False) -> None:
    """Register the task's candidates and write the receipt: hashes only, no version numbers.

    With `rebuild`, a version that lost its run or its package, or whose code has changed since, is
    made again from the outs.
    """
    task = load_task(name)
    example = task.example(read_tables(DATA / name))
    items, numbers = [], {}
    for candidate in candidates(name):
        item = judged(name, candidate)
        if not of_these_data(item):
            print(f"{candidate} is left out, it learned from other data: {UPDATE} {candidate}")
            continue
        answers = task.answer(MODELS / name / candidate)(example)
        settings = load_settings(candidate).model_dump()
        numbers[candidate] = ensure_version(item, settings, example, answers, rebuild)
        items.append(item)
        print(f"{candidate} is version {numbers[candidate]}: {item.verdict}")
    best = best_passing(items)
    set_challenger(name, numbers[best] if best else None)
    write_receipt(name, items, best)


def candidates(task: str) -> list[str]:
    """The task's candidates that have been judged, in the order of params.yaml."""
    every = [c for c, section in read_params()["candidates"].items() if section["task"] == task]
    return [c for c in every if (REPORTS / task / c / "gates.json").exists()]


def best_passing(items: list[Judged]) -> str | None:
    """The candidate with the best validation score among those that passed every gate."""
    passed = [item for item in items if item.verdict == "pass"]
    best = max(passed, key=lambda item: metrics(item)["validation"], default=None)
    return best.candidate if best else None


def metrics(item: Judged) -> dict[str, Any]:
    """The candidate's metrics.json."""
    return json.loads((REPORTS / item.task / item.candidate / "metrics.json").read_text())


def write_receipt(task: str, items: list[Judged], best: str | None) -> None:
    """What was registered, in one step, so that a crash leaves no half receipt."""
    receipt = {
        "task": task,
        "challenger": best,
        "candidates": {
            item.candidate: {"identity": item.identity, "verdict": item.verdict} for item in items
        },
    }
    RECEIPTS.mkdir(parents=True, exist_ok=True)
    scratch = RECEIPTS / f".{task}.json"
    scratch.write_text(json.dumps(receipt, indent=2) + "\n")
    scratch.replace(RECEIPTS / f"{task}.json")
