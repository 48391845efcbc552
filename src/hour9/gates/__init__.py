"""The gates, by the name of their threshold in params.yaml. A new gate is a file and a line here.

A gate takes the evidence table and its threshold and gives a Verdict. It must be able to fail:
no threshold, no evidence or a value that is no number is never a pass.
"""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from hour9.gates.bias import counterfactual, group_gap
from hour9.gates.floor import floor
from hour9.gates.overestimation import overestimation
from hour9.gates.overfitting import overfitting
from hour9.gates.seeds import seeds
from hour9.gates.verdict import HOLD, PASS, REJECT, Verdict

Gate = Callable[[pd.DataFrame, float | None], Verdict]

GATES: dict[str, Gate] = {
    "floor": floor,
    "overfitting": overfitting,
    "counterfactual": counterfactual,
    "group_gap": group_gap,
    "seeds": seeds,
    "overestimation": overestimation,
}
ALWAYS = ("floor", "overfitting")
"""Asked of every task; the others where the task has a threshold for them."""


def judge_all(evidence: pd.DataFrame, thresholds: Mapping[str, float | None]) -> list[Verdict]:
    """The verdicts of the gates that the task asks for."""
    asked = {*ALWAYS, *(key for key, limit in thresholds.items() if limit is not None)}
    return [gate(evidence, thresholds.get(key)) for key, gate in GATES.items() if key in asked]


def overall(verdicts: Sequence[Verdict]) -> str:
    """`reject` where one gate rejects, `pass` where there are gates and all pass, else `hold`."""
    words = {v.verdict for v in verdicts}
    if REJECT in words:
        return REJECT
    return PASS if words == {PASS} else HOLD
