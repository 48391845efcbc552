"""How long the gates take over a large evidence table. The imports are not counted.

python benchmarks/judge_speed.py [--cases 100000] [--short]
"""

import argparse
import time

import numpy as np
import pandas as pd

from hour9.gates import GATES, judge_all
from hour9.gates.verdict import Verdict


def main() -> None:
    """Print the CPU seconds of each gate, and of all together."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000, help="rows of the table")
    parser.add_argument("--short", action="store_true", help="1,000 rows")
    asked = parser.parse_args()
    evidence, curve = tables(1000 if asked.short else asked.cases)
    for name in GATES:
        print(f"{name:15} {seconds({name: 0.1}, evidence, curve):6.3f} s")
    print(f"{'all':15} {seconds(dict.fromkeys(GATES, 0.1), evidence, curve):6.3f} s")


def seconds(thresholds: dict[str, float], evidence: pd.DataFrame, curve: pd.DataFrame) -> float:
    """CPU time of these gates; all must have had evidence to judge by."""
    start = time.process_time()
    verdicts: list[Verdict] = judge_all(evidence, thresholds, curve)
    took = time.process_time() - start
    assert all(v.value is not None for v in verdicts if v.name in thresholds), verdicts
    return took


def tables(n: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Evidence with every column that a gate reads, no two of its scores alike."""
    random = np.random.default_rng(0)
    case = np.array([f"case-{i}" for i in range(n)])
    evidence = pd.DataFrame(
        {
            "case": case,
            "split": np.where(np.arange(n) < n // 5, "train", "test"),
            "target": random.integers(0, 10, n),
            "group.identity": random.choice(["a", "b", "c"], n),
            "group.class": random.integers(0, 10, n).astype(str),
            "pair": np.where(np.arange(n) >= n * 4 // 5, np.roll(case, n // 5), ""),
            "score": random.normal(size=n),
            "baseline": random.normal(size=n),
            "confidence": random.random(n),
            "output": random.random(n),
            "perturbed": random.normal(size=n),
            "copied": random.random(n),
            "shared": random.random(n),
            "twin": np.where(random.random(n) < 0.01, "case-0", ""),
            "megabytes": 1.0,
            "predicted": random.normal(size=n),
            "realised": random.normal(size=n),
            **{f"score.seed{seed}": random.normal(size=n) for seed in range(5)},
        }
    )
    return evidence, pd.DataFrame({"validation": random.random(1000)})


if __name__ == "__main__":
    main()
