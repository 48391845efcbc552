"""A sweep finds by validation what it offers, and does not know that there is a test split."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient

from hour9 import dag, search_space, sweep, trial
from hour9.bring_up import RunFailed
from hour9.config import set_params
from hour9.dispatch import NotSent
from hour9.params import read_params
from hour9.stage import LOGS, WARM

PATIENCE = 60  # seconds
SMALL = ["epochs=12", "feature_dropout=0.8", "learning_rate=0.0005"]  # there is a lot to find


@pytest.fixture
def data(project, stage, warm, monkeypatch) -> Path:
    """The nodes' tables, for a candidate with room for the better."""
    monkeypatch.setenv(WARM, warm)
    set_params([f"candidates.nodes-gcn.{change}" for change in SMALL])
    stage("ingest", "nodes")
    stage("validate", "nodes")
    return project / "data/nodes"


def search(said: list[str], trials: int = 6) -> tuple[sweep.Outcome, sweep.Outcome]:
    return sweep.search("nodes-gcn", trials, 0, 2, sweep.run_here, said.append)


def test_the_test_split_may_be_poisoned_and_half_of_it_gone(data):
    first: list[str] = []
    best, now = search(first)
    assert best.score > now.score

    cases = pd.read_parquet(data / "cases.parquet")
    test = cases["split"] == "test"
    cases.loc[test, "target"] = cases.loc[test, "target"].to_numpy()[::-1]
    cases.drop(cases.index[test][::2]).to_parquet(data / "cases.parquet", index=False)
    second: list[str] = []
    search(second)
    assert second == first  # every trial, every score, in every digit that is shown

    client = MlflowClient("sqlite:///mlruns/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("nodes").experiment_id])
    parents = [run for run in runs if "hour9.sweep" in run.data.tags]
    assert len(parents) == 2
    for parent in parents:
        assert json.loads(parent.data.tags["hour9.best"]) == best.values
        of = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
        assert len(of) == 6
        assert {run.info.status for run in of} <= {"FINISHED", "KILLED"}


def test_the_best_is_offered_and_written_only_when_it_is_accepted(project):
    before = Path("params.yaml").read_text()
    now = sweep.Outcome({"learning_rate": 0.05, "l2": 5e-4}, [(1, 0.5)])
    best = sweep.Outcome({"learning_rate": 0.02, "l2": 5e-4}, [(1, 0.6)])
    said: list[str] = []
    sweep.keep("nodes", "nodes-gcn", best, now, said.append)
    text = "\n".join(said)
    assert "-    learning_rate: 0.05\n+    learning_rate: 0.02" in text
    assert "hour9 run --set candidates.nodes-gcn.learning_rate=0.02" in text
    assert Path("params.yaml").read_text() == before

    with pytest.raises(search_space.NothingToSearch, match="was of nodes-gcn, not of nodes-gat"):
        sweep.accept("nodes", "nodes-gat")
    assert len(sweep.accept("nodes")) == 1
    assert read_params()["candidates"]["nodes-gcn"]["learning_rate"] == 0.02

    (sweep.SWEEPS / "nodes.json").write_text('{"changes": []}')  # as an older version kept it
    assert sweep.accept("nodes", "nodes-gat") == []

    failed = sweep.Outcome(now.values, failed="out of memory")
    sweep.keep("nodes", "nodes-gcn", sweep.Outcome({"l2": 0.01}, [(1, 0.6)]), failed, said.append)
    assert "what params.yaml says now failed: out of memory" in said
    assert "inf" not in "\n".join(said)


def test_where_every_trial_fails_the_sweep_does_and_its_runs_are_closed(client):
    said: list[str] = []
    with pytest.raises(RunFailed, match=r"every trial failed; .*: it burnt"):
        sweep.search("nodes-gcn", 2, 0, 2, lambda name, spec, stopped: "it burnt", said.append)
    assert [line.partition(" (")[0] for line in said] == [
        f"trial {number}: failed, it burnt" for number in range(2)
    ]

    def refuse(name: str, spec: dict, stopped: Callable[[], bool]) -> str:
        raise NotSent("nobody serves the pool")

    with pytest.raises(NotSent):
        sweep.search("nodes-gcn", 1, 0, 1, refuse, said.append)
    runs = client.search_runs([client.get_experiment_by_name("nodes").experiment_id])
    assert [run.info.status for run in runs] == ["FAILED"] * 5


def test_ctrl_c_stops_the_trials_that_run_and_closes_their_runs(client):
    """What runs on a worker sees no Ctrl-C: it is asked whether it should go on."""
    asked = []

    def run_trial(name: str, spec: dict, stopped: Callable[[], bool]) -> str:
        if name.endswith(".0"):
            raise KeyboardInterrupt
        begun = time.monotonic()
        while not stopped() and time.monotonic() - begun < PATIENCE:
            pass
        asked.append(stopped())
        return "stopped"

    with pytest.raises(KeyboardInterrupt):
        sweep.search("nodes-gcn", 2, 0, 2, run_trial, print)
    assert asked == [True]
    runs = client.search_runs([client.get_experiment_by_name("nodes").experiment_id])
    assert [run.info.status for run in runs] == ["FAILED"] * 3


def test_a_trial_on_a_worker_is_told_when_to_stop(monkeypatch):
    def send(trial, commit, pool, say, stopped, spec):
        raise dag.StageFailed("stopped; its run was cancelled" if stopped() else "went on")

    monkeypatch.setattr(sweep.dispatch, "send", send)
    run_trial = sweep.there(dag.Stage("train@nodes-gcn", ()), "c", "workers", print)
    assert run_trial("nodes-gcn.0", {}, lambda: True) == "stopped; its run was cancelled"


def test_a_failed_trial_says_why_where_stages_print_to_logs_too(project, warm, monkeypatch):
    monkeypatch.setenv(WARM, warm)
    spec = {"settings": {"topic": "graphs", "architecture": "gnn"}, "run_id": "0f5c1d2e"}
    aloud = sweep.run_here("nodes-gcn.0", spec)
    assert aloud.startswith("no architecture 'gnn'")
    monkeypatch.setenv(LOGS, str(dag.LOGS))
    assert sweep.run_here("nodes-gcn.0", spec) == aloud


def test_a_trial_is_pruned_beside_better_ones_and_no_other():
    past = [{"curve": [(1, 0.5), (2, level)], "pruned": False} for level in (0.6, 0.7, 0.8, 0.7, 1)]
    for score, falls_behind in ((0.65, True), (0.75, False)):
        judged = trial.beside(past)
        judged.report(score, 2)
        assert bool(judged.should_prune()) is falls_behind


def test_the_present_settings_are_inside_what_is_searched(project):
    for name in read_params()["candidates"]:
        settings = sweep.load_settings(name)
        for field in search_space.marked(settings):
            where = search_space.space(settings)[field]
            assert where._contains(getattr(settings, field)), (name, field)


def test_what_is_searched_keeps_to_the_bounds_of_the_settings(project):
    """And leaves alone what is switched off."""
    change = ["learning_rate=0.3", "l2=0.2", "hidden_dropout=0.9"]
    set_params([f"candidates.nodes-gcn.{one}" for one in change])
    settings = sweep.load_settings("nodes-gcn")
    for field, where in search_space.space(settings).items():
        for end in (where.low, where.high):
            tried = search_space.rounded({field: end})
            assert type(settings)(**{**settings.model_dump(), **tried})
    set_params(["candidates.nodes-gcn.l2=0.0"])
    assert "l2" not in search_space.space(sweep.load_settings("nodes-gcn"))


def test_where_there_is_nothing_to_search_it_says_so(project):
    with pytest.raises(search_space.NothingToSearch, match="architecture 'int8'"):
        search_space.space(sweep.load_settings("sentiment-int8"))
    with pytest.raises(search_space.NothingToSearch, match="hour9 sweep nodes --trials"):
        sweep.accept("nodes")
