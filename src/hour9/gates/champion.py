"""Is it better than the model in charge? Judged by `promote`, at the moment of promotion."""

import numpy as np
import pandas as pd

from hour9.gates.cases import originals
from hour9.gates.statistics import bootstrap_mean
from hour9.gates.verdict import HOLD, MIN_CASES, PASS, REJECT, Verdict

NAME = "champion"


def champion(evidence: pd.DataFrame, threshold: float = 0.0) -> Verdict:
    """Mean of score minus champion's score on the same test cases (a paired bootstrap).

    Takes the columns `split`, `score` and `champion`. Better is `pass`, a tie `hold`, worse
    `reject`: a copy of the champion, which changes nothing, is not let through.
    """
    test = originals(evidence, "test")
    gain = (test["score"] - test["champion"]).to_numpy(float)
    if len(gain) < MIN_CASES:
        return Verdict.hold(
            NAME, f"needs {MIN_CASES} test cases, got {len(gain)}", threshold, len(gain)
        )
    if not np.isfinite(gain).all():
        return Verdict(NAME, REJECT, None, None, threshold, len(gain), "a score is no number")
    found = bootstrap_mean(gain)
    word = PASS if found.low > threshold else REJECT if found.high < threshold else HOLD
    means = f"{test['score'].mean():.4g}, the champion {test['champion'].mean():.4g}"
    why = {PASS: "better", REJECT: "worse", HOLD: "a tie"}[word]
    return Verdict(
        NAME, word, found.value, (found.low, found.high), threshold, len(gain), f"{why}: {means}"
    )
