"""Who knows only DVC, or only MLflow, finds its habits working. (Prefect's: test_ui.py.)"""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from tests.conftest import QUICK, TREE, copy_project, stay_in

from hour9 import dag, lockfile
from hour9.config import set_params
from hour9.registry.lineage import dvc_md5
from hour9.servers import free_port, wait_for
from hour9.stage import LOGS, WARM

BIN = Path(sys.executable).parent
MODEL, CURVE = Path("models/taxi/taxi-qlearning"), "reports/taxi/taxi-qlearning/curve.json"
METRICS = "reports/taxi/taxi-qlearning/metrics.json"


def tool(*arguments: str) -> str:
    """What a tool of the environment printed."""
    done = subprocess.run([BIN / arguments[0], *arguments[1:]], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def git(*arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments], check=True)


@pytest.fixture(scope="module")
def tried(tmp_path_factory, warm) -> Iterator[Path]:
    """Taxi, committed and pushed to a DVC remote, then tried with another seed.

    Its registry is asked for by its whole path: MLflow keeps an engine for each address, and a
    relative one would lead the process's later tests here.
    """
    folder = tmp_path_factory.mktemp("habits")
    project = copy_project(folder / "project")
    (project / ".dvc/config.local").unlink()  # with git, as a person has it
    with pytest.MonkeyPatch.context() as patch:
        stay_in(project, patch)
        patch.setenv(WARM, warm)
        patch.setenv(LOGS, str(dag.LOGS))
        patch.setenv("PATH", f"{BIN}:{os.environ['PATH']}")
        set_params(QUICK)
        shutil.copy(Path(__file__).parent.parent / ".gitignore", project)
        git("init", "-q")
        tool("dvc", "remote", "add", "-d", "store", str(folder / "remote"))
        tool("dvc", "repro", "register@taxi")
        git("add", *TREE, "dvc.lock", ".gitignore")
        git("commit", "-qm", "taxi")
        tool("dvc", "push", "train@taxi-qlearning")
        change = "candidates.taxi-qlearning.seed=3"
        assert "Ran experiment" in tool("dvc", "exp", "run", "-S", change, "register@taxi")
        yield project


def test_dvc_says_what_an_experiment_changed(tried):
    changed = json.loads(tool("dvc", "metrics", "diff", "--json"))[METRICS]["test"]
    assert changed["diff"] == changed["new"] - changed["old"] != 0
    plots = json.loads(tool("dvc", "plots", "diff", "--json", "--targets", CURVE))
    (curves,) = plots["data"][CURVE]
    shown = {point["rev"] for point in curves["content"]["data"]["values"]}
    assert shown == {"HEAD", "workspace"}
    assert '"field": "validation"' in json.dumps(curves["content"])


def test_mlflow_finds_both_runs_and_compares_their_curves(tried):
    client = MlflowClient(f"sqlite:///{tried}/mlruns/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'taxi'")
    runs = client.search_runs(
        [experiment.experiment_id], "tags.`hour9.candidate` = 'taxi-qlearning'"
    )
    assert {run.data.params["seed"] for run in runs} == {"0", "3"}
    curves = [client.get_metric_history(run.info.run_id, "validation") for run in runs]
    steps = [[point.step for point in curve] for curve in curves]
    assert steps[0] == steps[1] == sorted(set(steps[0]))
    assert [p.value for p in curves[0]] != [p.value for p in curves[1]]


def test_mlflow_serves_a_version_by_an_alias_of_ones_own(tried):
    client = MlflowClient(f"sqlite:///{tried}/mlruns/mlflow.db")
    client.set_registered_model_alias("taxi", "mine", "1")
    port = str(free_port())
    command = ["mlflow", "models", "serve", "-m", "models:/taxi@mine", "--env-manager", "local"]
    env = {**os.environ, "MLFLOW_TRACKING_URI": "sqlite:///mlruns/mlflow.db"}
    served = subprocess.Popen(
        [*command, "-p", port], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/ping")
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            json.dumps({"dataframe_records": [{"state": 1}]}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert json.load(answer)["predictions"][0]["action"]
    finally:
        served.terminate()
        served.communicate()


def test_a_colleague_pulls_what_was_pushed(tried, tmp_path, monkeypatch):
    git("clone", "-q", str(tried), str(tmp_path / "clone"))
    monkeypatch.chdir(tmp_path / "clone")
    tool("dvc", "pull", "train@taxi-qlearning")
    entry = lockfile.entries(["train@taxi-qlearning"])["train@taxi-qlearning"]
    assert {out["path"]: out["md5"] for out in entry["outs"]}[str(MODEL)] == dvc_md5(MODEL)
