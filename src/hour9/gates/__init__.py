"""The gates, by the name of their threshold in params.yaml. A new gate is a file and a line here.

A gate takes the evidence table and its threshold and gives a Verdict. It must be able to fail:
no threshold, no evidence or a value that is no number is never a pass. What it asks, its formula
and how often it errs: docs/gates.md.
"""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from hour9.gates.budget import budget
from hour9.gates.calibration import calibration
from hour9.gates.champion import champion
from hour9.gates.counterfactual import counterfactual, shift
from hour9.gates.divergence import divergence
from hour9.gates.floor import floor
from hour9.gates.group_gap import group_gap
from hour9.gates.latency import latency
from hour9.gates.leakage import identifiers, leakage
from hour9.gates.memorised import memorised
from hour9.gates.overestimation import overestimation
from hour9.gates.overfitting import overfitting
from hour9.gates.robustness import robustness
from hour9.gates.seeds import seeds
from hour9.gates.verdict import HOLD, PASS, REJECT, Verdict

Gate = Callable[[pd.DataFrame, float], Verdict]

GATES: dict[str, Gate] = {
    "floor": floor,
    "overfitting": overfitting,
    "memorised": memorised,
    "divergence": divergence,
    "counterfactual": counterfactual,
    "shift": shift,
    "group_gap": group_gap,
    "leakage": leakage,
    "identifiers": identifiers,
    "calibration": calibration,
    "robustness": robustness,
    "budget": budget,
    "seeds": seeds,
    "overestimation": overestimation,
}
AT_PROMOTION: dict[str, Gate] = {"champion": champion, "latency": latency}
"""Judged by `promote`, at that moment: they depend on the registry, or on a clock."""
ALWAYS = ("floor", "overfitting")
"""Asked of every task; the others where the task has a threshold for them."""
OF_THE_CURVE = ("divergence",)
"""These see the learning curve, a row a point, instead of the cases."""


def judge_all(
    evidence: pd.DataFrame, thresholds: Mapping[str, float | None], curve: pd.DataFrame
) -> list[Verdict]:
    """The verdicts of the gates that the task asks for."""
    verdicts = []
    for name, gate in GATES.items():
        limit = thresholds.get(name)
        if limit is not None:
            verdicts.append(gate(curve if name in OF_THE_CURVE else evidence, limit))
        elif name in ALWAYS:
            verdicts.append(Verdict.hold(name, f"no threshold: set tasks.<task>.thresholds.{name}"))
    for name, limit in thresholds.items():
        if limit is not None and name not in GATES and name not in AT_PROMOTION:
            verdicts.append(Verdict.hold(name, "there is no gate of this name", limit))
    return verdicts


def overall(verdicts: Sequence[Verdict]) -> str:
    """`reject` where one gate rejects, `pass` where there are gates and all pass, else `hold`."""
    words = {v.verdict for v in verdicts}
    if REJECT in words:
        return REJECT
    return PASS if words == {PASS} else HOLD
