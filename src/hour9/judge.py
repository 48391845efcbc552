"""Judge: the gates over the evidence and the learning curve, and nothing else.

So a new threshold re-runs only this.
"""

import json
from dataclasses import asdict

import pandas as pd

from hour9.gates import judge_all, overall
from hour9.params import REPORTS, read_params


def judge(name: str) -> None:
    """Write gates.json: the candidate's verdict, and each gate's with its reason."""
    params = read_params()
    task = params["candidates"][name]["task"]
    thresholds = params["tasks"][task]["thresholds"]
    report = REPORTS / task / name
    evidence = pd.read_parquet(report / "evidence.parquet")
    curve = pd.DataFrame(json.loads((report / "curve.json").read_text()))
    verdicts = judge_all(evidence, thresholds, curve)
    result = {"verdict": overall(verdicts), "gates": [asdict(v) for v in verdicts]}
    (report / "gates.json").write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    print(f"{result['verdict']}: " + "; ".join(f"{v.name} {v.verdict}, {v.why}" for v in verdicts))
