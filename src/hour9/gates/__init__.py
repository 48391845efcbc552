"""The gates, by the name of their threshold in params.yaml. A new gate is a file and a line here.

A gate takes the evidence table and its threshold and gives a Verdict. It must be able to fail:
no threshold, no evidence or a value that is no number is never a pass.
"""

from collections.abc import Callable, Sequence

import pandas as pd

from hour9.gates.floor import floor
from hour9.gates.overfitting import overfitting
from hour9.gates.verdict import HOLD, PASS, REJECT, Verdict

Gate = Callable[[pd.DataFrame, float | None], Verdict]

GATES: dict[str, Gate] = {"floor": floor, "overfitting": overfitting}


def overall(verdicts: Sequence[Verdict]) -> str:
    """`reject` where one gate rejects, `pass` where there are gates and all pass, else `hold`."""
    words = {v.verdict for v in verdicts}
    if REJECT in words:
        return REJECT
    return PASS if words == {PASS} else HOLD
