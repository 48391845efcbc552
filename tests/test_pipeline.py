"""The whole road on the smallest task, with every tool as it is."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import psutil
import pytest
from tests.conftest import QUICK, prefect_server, prepare_prefect

from hour9 import dag, run
from hour9.config import set_params
from hour9.registry.lineage import dvc_md5
from hour9.stage import LOGS, WARM

BIN = Path(sys.executable).parent
GATES = [
    "floor",
    "overfitting",
    "group_gap",
    "robustness",
    "budget",
    "seeds",
    "overestimation",
]  # taxi asks these


def command(*arguments: str, check: bool = True) -> str:
    """Run a tool of the environment in the project; what it printed."""
    done = subprocess.run(
        [str(BIN / arguments[0]), *arguments[1:]],
        env={**os.environ, "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert (done.returncode == 0) == check, done.stdout
    return done.stdout


def start_run(task: str) -> "subprocess.Popen[str]":
    """`hour9 run` in the background; what it prints can be read line by line."""
    return subprocess.Popen(
        [str(BIN / "hour9"), "run", "--task", task],
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_road_from_raw_data_to_the_registry_and_back_to_nothing_to_do(
    project, warm, monkeypatch
):
    set_params(QUICK)
    prepare_prefect(project)
    shutil.rmtree("mlruns")  # the first run finds nothing that it needs
    said = command("hour9", "run", "--task", "taxi")
    assert "changed: ingest@taxi, validate@taxi, train@taxi-qlearning and 4 more; starting" in said
    for stage in ("ingest@taxi", "train@taxi-qlearning", "register@taxi", "report"):
        assert f"{stage} " in said
    assert "taxi-qlearning" in said
    assert "challenger" in said
    assert "neither training nor evaluation" in said
    page = Path("reports/index.html").read_text()
    assert 'id="taxi-qlearning"' in page
    assert page.count("<section") == 1  # nothing is said of what was not judged
    assert "None" not in page
    lock = Path("dvc.lock").read_bytes()
    monkeypatch.setenv(WARM, warm)  # from here on, imports are paid for
    monkeypatch.setenv(LOGS, str(dag.LOGS))

    said = command("hour9", "run", "--task", "taxi")
    assert "Nothing to do" in said
    assert "Prefect" not in said

    (row,) = [r for r in json.loads(command("hour9", "status", "--json")) if r["task"] == "taxi"]
    assert row["verdict"] == "pass"
    assert row["aliases"] == ["challenger"]
    assert row["model_md5"] in lock.decode()
    assert not row["stale"]
    assert [gate["name"] for gate in row["gates"]] == GATES

    with prefect_server(project, monkeypatch):
        # There and back: the first version again, not the newest.
        command("hour9", "run", "--task", "taxi", "--set", "candidates.taxi-qlearning.seed=1")
        assert standing()["version"] == 2
        command("hour9", "run", "--task", "taxi", "--set", "candidates.taxi-qlearning.seed=0")
        assert (standing()["version"], standing()["aliases"]) == (1, ["challenger"])

        # A registry that was lost is made again, and what is shown is what is there.
        shutil.rmtree("mlruns")
        assert "changed: register@taxi" in command("hour9", "run", "--task", "taxi")
        assert (standing()["version"], standing()["aliases"]) == (1, ["challenger"])
        assert Path("dvc.lock").read_bytes() == lock

    assert '"action"' in command("hour9", "predict", "taxi", '{"state": 1}')

    # DVC alone, in an empty project, writes the same lock.
    for folder in ("data", "models", "reports", "mlruns", ".dvc/cache", ".hour9"):
        shutil.rmtree(folder)
    Path("dvc.lock").unlink()
    command("dvc", "repro", "register@taxi")
    command("dvc", "repro", "--single-item", "report")
    assert Path("dvc.lock").read_bytes() == lock


def test_data_of_another_size_are_other_data(project, warm, monkeypatch):
    """DVC's run-cache does not compare what is called `size`: it gave the last data back."""
    monkeypatch.setenv(WARM, warm)
    monkeypatch.setenv(LOGS, str(dag.LOGS))
    found = []
    for size in (100, 150, 100):
        set_params([f"tasks.nodes.source.size={size}"])
        command("dvc", "repro", "ingest@nodes")
        found.append(len(pd.read_parquet("data/raw/nodes/nodes.parquet")))
    assert found == [100, 150, 100]


def standing() -> dict:
    """What the report last said of the taxi candidate."""
    rows = json.loads(Path("reports/standing.json").read_text())
    (row,) = [row for row in rows if row["candidate"] == "taxi-qlearning"]
    return row


def test_bad_data_stops_with_its_rows_and_the_last_good_data_comes_back(project, warm, monkeypatch):
    monkeypatch.setenv(WARM, warm)
    monkeypatch.setenv(LOGS, str(dag.LOGS))
    dag.reproduce("ingest@taxi")
    dag.reproduce("validate@taxi")
    good = dvc_md5(Path("data/taxi"))
    table = pd.read_parquet("data/raw/taxi/transitions.parquet")
    table.loc[7, "probability"] = 1.5
    table.to_parquet("data/raw/taxi/transitions.parquet", index=False)
    said: list[str] = []
    with pytest.raises(dag.StageFailed) as caught:
        dag.reproduce("validate@taxi", say=said.append)
    for words in ("transitions.probability", "expect_column_values_to_be_between", "row 7"):
        assert words in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert str(caught.value).splitlines()[-1] in said
    assert dvc_md5(Path("data/taxi")) == good


def test_under_plain_dvc_the_message_says_how_the_last_good_data_comes_back(project):
    Path("data/raw/taxi").mkdir(parents=True)
    command("dvc", "commit", "--force", "ingest@taxi")
    said = command("dvc", "repro", "--single-item", "validate@taxi", check=False)
    assert "dvc checkout --force validate@taxi" in said


def test_a_wrong_setting_is_refused_before_anything_starts(project):
    said = command("hour9", "run", "--set", "candidates.taxi-qlearning.sed=1", check=False)
    assert (
        said == "no key 'candidates.taxi-qlearning.sed' in params.yaml; "
        "the nearest is 'candidates.taxi-qlearning.seed'\n"
    )


def test_of_an_unknown_candidate_not_even_a_setting_is_written(project):
    before = Path("params.yaml").read_bytes()
    change = ["--set", "candidates.taxi-qlearning.seed=1"]
    said = command("hour9", "run", "--candidate", "taxi", *change, check=False)
    assert said.startswith("no candidate 'taxi' in params.yaml; there are ")
    assert Path("params.yaml").read_bytes() == before


def test_data_that_are_not_there_are_named_before_anything_starts(project):
    change = ["--set", "tasks.taxi.source.root=nowhere"]
    said = command("hour9", "run", "--task", "taxi", *change, check=False)
    assert said.endswith("there is no 'nowhere'; set tasks.taxi.source.root to what is there\n")


def test_a_second_run_waits_and_says_for_whom(project):
    set_params(["tasks.taxi.source.root=nowhere"])
    with run.one_run():
        second = start_run("taxi")
        assert second.stdout
        assert f"process {os.getpid()}" in second.stdout.readline()
    assert "there is no 'nowhere'" in second.communicate()[0]


def test_a_run_that_is_told_to_stop_stops_and_leaves_nothing_running(project):
    set_params(["candidates.taxi-qlearning.steps=100000000"])
    prepare_prefect(project)
    running = start_run("taxi")
    assert running.stdout
    assert any("steps, regret" in line for line in running.stdout)
    children = psutil.Process(running.pid).children(recursive=True)
    running.terminate()
    running.communicate()
    assert running.returncode != 0
    assert not psutil.wait_procs(children, timeout=60)[1], "something was left running"
