"""Evidence of a made-up candidate that no gate should mind: what faults are planted in."""

import numpy as np
import pandas as pd

CASES = {"train": 1000, "test": 1000}
PAIRS = 600
AGENTS = 5


def clean_evidence() -> pd.DataFrame:
    """Right or wrong, nine in ten, and as sure as that; every column that a gate reads."""
    random = np.random.default_rng(0)
    split = np.repeat([*CASES], [*CASES.values()])
    n = len(split)
    sure = 0.8 + 0.2 * random.random(n)
    right = (random.random(n) < sure).astype(float)
    table = pd.DataFrame(
        {
            "case": [f"case-{number}" for number in range(n)],
            "split": split,
            "target": random.integers(0, 2, n),
            "group.identity": random.choice(["a", "b"], n),
            "pair": "",
            "score": right,
            "baseline": (random.random(n) < 0.7).astype(float),
            "champion": (random.random(n) < 0.7).astype(float),
            "confidence": sure,
            "output": random.beta(0.5, 0.5, n),
            "perturbed": np.where(random.random(n) < 0.01, 1 - right, right),
            "twin": "",
            "copied": random.beta(1, 20, n),
            "shared": random.beta(1, 20, n),
            "megabytes": 1.0,
            "realised": right,
            "predicted": right + random.normal(0, 0.1, n),
            **{f"score.seed{k}": (random.random(n) < 0.9).astype(float) for k in range(AGENTS)},
        }
    )
    first = table[split == "test"].head(PAIRS)
    other = {"a": "b", "b": "a"}
    swapped = first.assign(
        case=first["case"] + "-swapped",
        pair=first["case"],
        output=first["output"] + random.normal(0, 0.05, PAIRS),
        **{"group.identity": first["group.identity"].map(other)},
    )
    return pd.concat([table, swapped], ignore_index=True)


def clean_curve() -> pd.DataFrame:
    """It rises, and stays."""
    random = np.random.default_rng(0)
    steps = np.arange(200)
    rise = 0.9 - 0.6 * np.exp(-steps / 20)
    return pd.DataFrame({"step": steps, "validation": rise + random.normal(0, 0.01, len(steps))})


def clean_rounds() -> pd.DataFrame:
    """As fast as the reference, on a machine that is now and then busy."""
    random = np.random.default_rng(0)
    seconds = {name: random.lognormal(-5, 0.1, 60) for name in ("seconds", "reference")}
    return pd.DataFrame(seconds)
