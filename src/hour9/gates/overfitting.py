"""Did the candidate learn, or memorise?"""

import pandas as pd

from hour9.gates.cases import originals
from hour9.gates.statistics import bootstrap_difference
from hour9.gates.verdict import MIN_CASES, Verdict


def overfitting(evidence: pd.DataFrame, threshold: float) -> Verdict:
    """Train minus test score."""
    train, test = (
        originals(evidence, split)["score"].to_numpy(float) for split in ("train", "test")
    )
    if min(len(train), len(test)) < MIN_CASES:
        why = f"needs {MIN_CASES} cases a split, got {len(train)} train and {len(test)} test"
        return Verdict.hold("overfitting", why, threshold, len(test))
    gap = bootstrap_difference(train, test)
    why = f"scores {train.mean():.4g} on train and {test.mean():.4g} on test"
    return Verdict.at_most("overfitting", gap, threshold, len(test), why)
