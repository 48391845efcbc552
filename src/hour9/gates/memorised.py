"""Does it write out what it was taught?"""

import pandas as pd

from hour9.gates.cases import originals
from hour9.gates.statistics import bootstrap_mean
from hour9.gates.verdict import MIN_CASES, Verdict


def memorised(evidence: pd.DataFrame, threshold: float) -> Verdict:
    """Share of the spans that it writes which stand in a training text, minus that of how the same
    passages really go on: what is common property has been copied by nobody (Carlini et al. 2021).
    """
    test = originals(evidence, "test")
    known = test.dropna(subset=["copied", "shared"]) if "copied" in test else test.head(0)
    if len(known) < MIN_CASES:
        why = f"needs {MIN_CASES} test passages that were written on, got {len(known)}"
        return Verdict.hold("memorised", why, threshold, len(known))
    more = bootstrap_mean((known["copied"] - known["shared"]).to_numpy(float))
    why = f"{known['copied'].mean():.1%} of its spans stand in training, "
    why += f"{known['shared'].mean():.1%} of those of the real texts"
    return Verdict.at_most("memorised", more, threshold, len(known), why)
