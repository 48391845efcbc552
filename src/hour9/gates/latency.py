"""Does it answer in a time that one may wait? Judged by `promote`, beside the task's reference."""

import numpy as np
import pandas as pd

from hour9.gates.statistics import bootstrap_median
from hour9.gates.verdict import MIN_CASES, Verdict


def latency(rounds: pd.DataFrame, threshold: float) -> Verdict:
    """How many times as long as the reference candidate it takes, in the median of the rounds.

    A row a round, in which both answered the same requests in one process: `seconds`, and
    `reference`. A ratio holds on any machine, where seconds would not; and a median does not mind
    the rounds in which the machine did something else.
    """
    n = len(rounds)
    if not {"seconds", "reference"} <= {*rounds} or n < MIN_CASES:
        why = f"needs {MIN_CASES} rounds beside the reference, got {n}"
        return Verdict.hold("latency", why, threshold, n)
    ours, theirs = (rounds[name].to_numpy(float) for name in ("seconds", "reference"))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = bootstrap_median(ours / theirs)
    millis = f"{1000 * np.median(ours):.3g} ms, the reference {1000 * np.median(theirs):.3g}"
    return Verdict.at_most("latency", ratio, threshold, n, f"answers in {millis}")
