"""The scripts that measure the gates, in their short forms, and the page that they fill."""

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.gates.clean import clean_curve, clean_evidence

from hour9.gates import AT_PROMOTION, GATES
from hour9.params import read_params

ROOT = Path(__file__).parents[2]


def run(script: str, *options: str) -> str:
    command = [sys.executable, f"benchmarks/{script}.py", "--short", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_speed_of_every_gate_is_measured():
    said = run("judge_speed")
    assert all(gate in said for gate in GATES)


def test_the_errors_of_a_tasks_gates_are_measured_on_its_evidence(tmp_path):
    report = tmp_path / "sentiment/sentiment-bert"
    report.mkdir(parents=True)
    clean_evidence().to_parquet(report / "evidence.parquet")
    (report / "gates.json").write_text(json.dumps({"verdict": "pass"}))
    (report / "metrics.json").write_text(json.dumps({"validation": 0.9}))
    (report / "curve.json").write_text(clean_curve().to_json(orient="records"))
    said = run("gate_errors", "--reports", str(tmp_path), "--task", "sentiment")
    asked = read_params(ROOT / "params.yaml")["tasks"]["sentiment"]["thresholds"]
    for gate in [name for name, limit in asked.items() if limit is not None and name in GATES]:
        assert f"| {gate} | sentiment-bert |" in said


def test_the_page_has_each_gate_with_the_thresholds_of_today():
    page = (ROOT / "docs/gates.md").read_text()
    rows = re.findall(r"^\| (\w+) \| (\w+)-[\w-]+ \| ([\d.]+) \|", page, flags=re.M)
    tasks = read_params(ROOT / "params.yaml")["tasks"]
    assert rows
    assert {gate for gate, *_ in rows} <= {*GATES, *AT_PROMOTION}
    for gate, task, limit in rows:
        today = tasks[task]["thresholds"].get(gate, 0.0)
        assert today == float(limit), "python benchmarks/gate_errors.py"
