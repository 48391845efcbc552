"""How often each gate errs: clean candidates not passed, faulty ones not rejected.

Of 200 tables drawn again from a candidate's evidence, how many does a gate not pass; of 200 with a
fault of 1.5 times its threshold planted in them (and of 1.2 times), how many does it not reject? A
`hold` is an error on either side. The evidence is that of each task's challenger, as `make run`
left it in reports/; the thresholds are those of params.yaml. In the champion's place stands the
baseline; latency is measured here, beside the task's reference. Writes the table in docs/gates.md.

    python benchmarks/gate_errors.py [--task sentiment] [--short]
"""

import argparse
import json
import re
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hour9.gates import AT_PROMOTION, GATES, OF_THE_CURVE
from hour9.gates.planted import draw, effect_of
from hour9.params import DATA, MODELS, REPORTS, read_params
from hour9.registry.packages import Package, answer_times
from hour9.task import read_tables

EVERY = GATES | AT_PROMOTION
PAGE = Path("docs/gates.md")
FAULTS = (0.0, 1.5, 1.2)
TABLES = 200
MOST = 0.05  # of either kind of error
HEAD = (
    "| gate | candidate | threshold | it has | clean, not passed | 1.5 × threshold, not rejected "
    "| 1.2 × |\n|---|---|--:|--:|--:|--:|--:|\n"
)


def main() -> None:
    """Print the table and write it into the page; --short prints a few tables' worth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="", help="only this task; writes nothing")
    parser.add_argument("--short", action="store_true", help="three tables each; writes nothing")
    parser.add_argument("--reports", type=Path, default=REPORTS, help="where the evidence lies")
    asked = parser.parse_args()
    names = [asked.task] if asked.task else list(read_params()["tasks"])
    todo = [(*gate, asked.reports) for name in names for gate in gates_of(name, asked.reports)]
    tables = 3 if asked.short else TABLES
    with ProcessPoolExecutor() as pool:
        beside = [one for one in todo if one[1] != "latency"]
        lines = list(pool.map(measured, beside, [tables] * len(beside)))
    lines += [measured(one, tables) for one in todo if one[1] == "latency"]  # timed alone
    order = list(EVERY)
    lines.sort(key=lambda line: order.index(line.split("|")[1].strip()))
    print("\n".join(lines))
    if not asked.short and not asked.task:
        write(HEAD + "\n".join(lines))


def gates_of(task: str, reports: Path) -> list[tuple[str, str, float]]:
    """Task, gate and threshold of each gate that can be measured here."""
    if best(reports / task) is None:
        print(f"{task} has no evidence in {reports}: hour9 run --task {task}")
        return []
    limits = {**read_params()["tasks"][task]["thresholds"], "champion": 0.0}
    timed = (MODELS / task).exists()
    return [
        (task, gate, limit)
        for gate, limit in limits.items()
        if limit is not None and (gate != "latency" or timed)
    ]


def measured(one: tuple[str, str, float, Path], tables: int) -> str:
    """A gate's line of the table."""
    task, gate, limit, reports = one
    candidate = best(reports / task)
    assert candidate is not None
    table = table_of(gate, candidate, read_params()["tasks"][task])
    rates = [errors(gate, table, limit, fault, tables) for fault in FAULTS]
    return row(gate, candidate.name, limit, EVERY[gate](table, limit).value, rates)


def best(reports: Path) -> Path | None:
    """The report of the candidate that is best on validation, of those that passed if any did."""
    folders = sorted(path.parent for path in reports.glob("*/gates.json"))

    def rank(folder: Path) -> tuple[bool, float]:
        verdict = json.loads((folder / "gates.json").read_text())["verdict"]
        return verdict == "pass", json.loads((folder / "metrics.json").read_text())["validation"]

    return max(folders, key=rank, default=None)


def table_of(gate: str, report: Path, section: dict[str, Any]) -> pd.DataFrame:
    """What the gate sees of the candidate."""
    if gate in OF_THE_CURVE:
        return pd.DataFrame(json.loads((report / "curve.json").read_text()))
    if gate == "latency":
        task = report.parent.name
        pair = [
            Package(
                task=task,
                topic=section["topic"],
                folder=MODELS / task,
                model=MODELS / task / name,
                code=Path("src").absolute(),
                evidence=report,
                gates={},
            )
            for name in (report.name, section["reference"])
        ]
        return answer_times(*pair, read_tables(DATA / task))
    evidence = pd.read_parquet(report / "evidence.parquet")
    return evidence.assign(champion=evidence["baseline"]) if gate == "champion" else evidence


def row(gate: str, candidate: str, limit: float, has: float | None, rates: list[float]) -> str:
    """A line of the table: what the candidate itself has, and the shares of wrong verdicts."""
    cells = [f"**{r:.1%}**" if r > MOST and k < 2 else f"{r:.1%}" for k, r in enumerate(rates)]
    value = "–" if has is None else f"{has:.3g}"
    return f"| {gate} | {candidate} | {limit:g} | {value} | {' | '.join(cells)} |"


def errors(gate: str, table: pd.DataFrame, limit: float, fault: float, tables: int) -> float:
    """The share of tables that get the wrong verdict."""
    random = np.random.default_rng(0)
    right = "reject" if fault else "pass"
    effect = effect_of(gate, table, limit, fault) if fault else None
    verdicts = [EVERY[gate](draw(gate, table, effect, random), limit) for _ in range(tables)]
    return float(np.mean([verdict.verdict != right for verdict in verdicts]))


def write(table: str) -> None:
    """Put the table between its marks."""
    marks = r"(<!-- errors -->\n).*(<!-- /errors -->)"
    text = re.sub(marks, lambda m: f"{m[1]}{table}\n{m[2]}", PAGE.read_text(), flags=re.S)
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
