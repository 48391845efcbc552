"""How often each gate errs: clean candidates not passed, faulty ones not rejected.

Of 200 tables with no fault, how many does a gate not pass; of 200 with a fault of 1.5 times its
threshold (and of 1.2 times), how many does it not reject? A `hold` is an error on either side.
The tables have the sizes of the embedded tasks' evidence (hour9/gates/planted.py), the thresholds
are those of params.yaml. Writes the table in docs/gates.md.

    python benchmarks/gate_errors.py [--short]
"""

import argparse
import re
from pathlib import Path

import numpy as np

from hour9.gates import GATES
from hour9.gates.planted import SHAPES, planted
from hour9.params import read_params

PAGE = Path("docs/gates.md")
FAULTS = (0.0, 1.5, 1.2)
TABLES = 200
HEAD = (
    "| gate | task | threshold | clean, not passed | 1.5 × threshold, not rejected | 1.2 × |\n"
    "|---|---|--:|--:|--:|--:|\n"
)


def main() -> None:
    """Print the table and write it into the page; --short prints a few tables' worth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="ten tables each; writes nothing")
    short = parser.parse_args().short
    lines: list[str] = []
    for gate in GATES:
        for task, limit in asked(gate).items():
            rates = [errors(gate, task, limit, fault, 10 if short else TABLES) for fault in FAULTS]
            cells = " | ".join(f"{rate:.1%}" for rate in rates)
            lines.append(f"| {gate} | {task} | {limit:g} | {cells} |")
            print(lines[-1], flush=True)
    if not short:
        write(HEAD + "\n".join(lines))


def asked(gate: str) -> dict[str, float]:
    """The gate's threshold in each task that asks for it."""
    tasks = read_params()["tasks"]
    found = {task: tasks[task]["thresholds"].get(gate) for task in SHAPES}
    return {task: limit for task, limit in found.items() if limit is not None}


def errors(gate: str, task: str, limit: float, fault: float, tables: int) -> float:
    """The share of tables that get the wrong verdict."""
    random = np.random.default_rng(0)
    right = "reject" if fault else "pass"
    wrong = [
        GATES[gate](planted(gate, task, limit, fault, random), limit).verdict != right
        for _ in range(tables)
    ]
    return float(np.mean(wrong))


def write(table: str) -> None:
    """Put the table between its marks."""
    marks = r"(<!-- errors -->\n).*(<!-- /errors -->)"
    text = re.sub(marks, lambda m: f"{m[1]}{table}\n{m[2]}", PAGE.read_text(), flags=re.S)
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
