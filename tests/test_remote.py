"""Two workers in clones of their own, which share git, DVC's remote and Prefect's server alone."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from mlflow import MlflowClient
from prefect.states import Completed, Crashed, Failed, Scheduled
from ruamel.yaml import YAML
from tests.conftest import ROOT, copy_project, prefect_server, stay_in

from hour9 import dag, dispatch, remote, run, sweep
from hour9.cli import MISTAKE
from hour9.servers import NotServed
from hour9.stage import LOGS, WARM

BIN = Path(sys.executable).parent
LONG = "taxi-sarsa"  # trains for some seconds
IDENTITY = {
    f"GIT_{who}_{what}": f"{what.lower()}@example.org"
    for who in ("AUTHOR", "COMMITTER")
    for what in ("NAME", "EMAIL")
}


def git(folder: Path, *arguments: str) -> None:
    env = {**os.environ, **IDENTITY}
    subprocess.run(["git", *arguments], cwd=folder, env=env, check=True, capture_output=True)


@pytest.fixture(scope="module")
def clones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A project with two taxi candidates in a bare repository, four clones, a remote folder."""
    tmp_path = tmp_path_factory.mktemp("remote")
    first = copy_project(tmp_path / "first")
    shutil.copy(ROOT / ".gitignore", first)
    (first / ".dvc/config.local").unlink()
    (first / ".venv").unlink()
    yaml = YAML(typ="safe", pure=True)
    params = yaml.load(first / "params.yaml")
    params["weights"], params["tasks"] = {}, {"taxi": params["tasks"]["taxi"]}
    short = params["candidates"]["taxi-qlearning"] | {"steps": 60000, "check_every": 20000}
    long = short | {"update": "sarsa", "steps": 1500000, "check_every": 200000}
    params["candidates"] = {"taxi-qlearning": short, LONG: long}
    with (first / "params.yaml").open("w") as file:
        yaml.dump(params, file)
    with (first / ".dvc/config").open("a") as file:
        file.write(f"    remote = shared\n['remote \"shared\"']\n    url = {tmp_path}/remote\n")
    git(first, "init", "--quiet")
    git(first, "add", "--all")
    git(first, "commit", "--quiet", "--message", "Two taxi candidates")
    git(tmp_path, "clone", "--quiet", "--bare", str(first), "origin.git")
    names = ("alone", "sender", "one", "two")
    for name in names:
        git(tmp_path, "clone", "--quiet", "origin.git", name)
        (tmp_path / name / ".venv").symlink_to(sys.prefix)
        (tmp_path / name / ".hour9").mkdir()
    return {name: tmp_path / name for name in names}


@dataclass
class Machine:
    """A worker with its clone, as `hour9 worker` starts it."""

    folder: Path
    process: "subprocess.Popen[bytes]"

    @property
    def clone(self) -> Path:
        return self.folder / remote.CLONE

    def is_at(self, stage: str) -> bool:
        return (self.clone / f".hour9/locks/{stage}.lock").exists()

    def switch_off(self) -> None:
        """Kill -9 the worker; all that it started must die with it."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert not psutil.wait_procs(family, timeout=60)[1], "something was left running"


@pytest.fixture(scope="module")
def store(clones: dict[str, Path]) -> str:
    """An MLflow store that all can reach."""
    return f"sqlite:///{clones['sender'].parent}/shared.db"


@pytest.fixture(scope="module")
def machines(clones: dict[str, Path], store: str, warm: str) -> Iterator[list[Machine]]:
    """A Prefect server, and two workers that wait for stages; the second imports nothing anew."""
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        stay_in(clones["sender"], patch)
        patch.setenv("PREFECT_WORKER_HEARTBEAT_SECONDS", "5")
        patch.setenv("PREFECT_WORKER_QUERY_SECONDS", "1")
        stack.enter_context(prefect_server(clones["sender"], patch))
        found = []
        shared = {WARM: warm, LOGS: str(dag.LOGS)}
        for name, more in (("one", {}), ("two", shared)):
            log = stack.enter_context((clones[name] / "worker.log").open("w"))
            running = subprocess.Popen(
                [str(BIN / "hour9"), "worker"],
                cwd=clones[name],
                env={**os.environ, "MLFLOW_TRACKING_URI": store, **more},
                stdout=log,
                stderr=log,
            )
            found.append(Machine(clones[name], running))
        yield found
        for machine in found:
            if machine.process.poll() is None:
                machine.switch_off()


def test_a_sweep_has_its_trials_run_by_workers_side_by_side(machines, store, warm, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setenv(WARM, warm)  # the sender's own imports are paid for
    monkeypatch.setenv(LOGS, str(dag.LOGS))
    command = ["hour9", "sweep", "taxi", "--trials", "2", "--at-once", "2", "--pool", "workers"]
    done = subprocess.run([str(BIN / command[0]), *command[1:]], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    ran_on = {line.split()[-1] for line in done.stdout.splitlines() if "runs on" in line}
    assert len(ran_on) == 2, done.stdout
    client = MlflowClient(store)
    (experiment,) = client.search_experiments(filter_string="name = 'taxi'")
    runs = client.search_runs([experiment.experiment_id], "tags.`hour9.trial` = 'taxi-qlearning'")
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]
    places = {run.data.tags["hour9.place"].partition(":")[2] for run in runs}
    assert places == {str(machine.clone) for machine in machines}  # theirs, not the sender's
    first, second = (client.get_metric_history(run.info.run_id, "validation") for run in runs)
    assert first
    assert [point.value for point in first] != [point.value for point in second]


def test_a_pool_that_nobody_serves_is_refused_before_anything_runs(machines):
    command = [str(BIN / "hour9"), "run", "--pool", "nope; ls"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == MISTAKE
    assert done.stdout == ""
    assert done.stderr.startswith("Prefect has no deployment stage/nope; ls: start a worker")


def test_two_workers_one_of_them_killed_give_the_dvc_lock_of_a_machine_alone(
    clones, machines, warm, monkeypatch
):
    monkeypatch.setenv(WARM, warm)
    monkeypatch.setenv(LOGS, str(dag.LOGS))
    running = subprocess.Popen(
        [str(BIN / "hour9"), "run", "--pool", "workers"],
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert running.stdout
    said: list[str] = []
    killed = None
    for line in running.stdout:
        said.append(line)
        if f"train@{LONG}" in line and "runs on" in line and not killed:
            (killed,) = [m for m in machines if line.rstrip().endswith(f"-{m.process.pid}")]
            while not killed.is_at(f"train@{LONG}"):
                assert running.poll() is None, "".join(said)
            killed.switch_off()
    running.stdout.close()
    text = "".join(said)
    assert running.wait() == 0, text
    assert "its worker died; another one takes it over" in text
    ran_on = {line.split()[-1] for line in said if "runs on" in line}
    assert len(ran_on) == 2, text

    monkeypatch.chdir(clones["alone"])
    monkeypatch.delenv("PREFECT_API_URL")
    every = dag.stages()
    for stage in every:
        dag.reproduce(stage.name)
    dag.sort_lock(stage.name for stage in every)
    alone, sender = (clones[name] / "dvc.lock" for name in ("alone", "sender"))
    assert sender.read_bytes() == alone.read_bytes()


@pytest.mark.parametrize(
    ("trial", "taken"), [(None, "new"), ({"number": 0}, "completed")], ids=["stage", "trial"]
)
def test_what_had_ended_is_run_anew_though_the_servers_clock_is_ahead(trial, taken, monkeypatch):
    """A stage that was completed, too: it is only sent where DVC's remote lacks what came out."""
    later = datetime.now(UTC) + timedelta(hours=1)
    runs = [
        SimpleNamespace(name="failed", state=Failed(timestamp=later)),
        SimpleNamespace(name="crashed", state=Crashed(timestamp=later)),
        SimpleNamespace(name="completed", state=Completed(timestamp=later)),
        SimpleNamespace(name="new", state=Scheduled()),
    ]
    ended = SimpleNamespace(state=Completed())
    monkeypatch.setattr(dag, "push", lambda names: None)
    monkeypatch.setattr("prefect.client.orchestration.get_client", lambda **_: nullcontext())
    monkeypatch.setattr(dispatch, "submit", lambda *asked: runs[int(asked[2].split(":")[1])])
    monkeypatch.setattr(dispatch, "wait", lambda client, run, *_: ended)
    said: list[str] = []
    stage = dag.Stage("train@taxi-sarsa", ())
    dispatch.send(stage, "", "workers", said.append, trial=trial)
    assert said == [f"sent to pool workers as run {taken}"]


def test_what_a_worker_ran_has_changed_and_its_time_was_training(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(".hour9").mkdir()
    would_run = iter([True, False])
    monkeypatch.setattr(dag, "would_run", lambda name: next(would_run))
    monkeypatch.setattr(dag, "reproduce", lambda *_, **__: False)  # DVC had only to pull it
    monkeypatch.setattr(dispatch, "send", lambda *_: time.sleep(0.1))
    started = time.time()
    assert dispatch.reproduce(dag.Stage("train@taxi-sarsa", ()), "", "workers", print)
    assert run.where_time_went(started, time.time())["training"] >= 0.1


def test_a_tree_that_is_not_its_commit_is_not_sent(clones, store, monkeypatch):
    stay_in(clones["sender"], monkeypatch)
    assert len(dispatch.commit_to_send()) == 40
    with pytest.raises(dispatch.NotSent, match="workers see commits alone"):
        dispatch.commit_to_send(["candidates.taxi-qlearning.seed=1"])

    with Path("params.yaml").open("a") as file:
        file.write("# a thought\n")
    with pytest.raises(dispatch.NotSent, match="commit and push first"):
        dispatch.commit_to_send()

    git(Path(), "commit", "--quiet", "--all", "--message", "A thought")
    with pytest.raises(dispatch.NotSent, match=r"no git remote has commit \w{12}, .*: git push"):
        dispatch.commit_to_send()
    git(Path(), "push", "--quiet", "origin", "HEAD")
    assert dispatch.commit_to_send()
    with pytest.raises(dispatch.NotSent, match="workers cannot see this checkout's own store"):
        sweep.sweep("taxi", "", trials=1, seed=0, pool="workers")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    with pytest.raises(NotServed, match="export PREFECT_API_URL="):
        sweep.sweep("taxi", "", trials=1, seed=0, pool="workers")


def test_a_worker_refuses_a_commit_that_wants_other_packages(clones, monkeypatch):
    stay_in(clones["one"], monkeypatch)
    monkeypatch.setenv(remote.PACKAGES, "another")
    with pytest.raises(remote.NotTaken, match="other packages"), remote.at(head()):
        pass
    with pytest.raises(remote.NotTaken, match="no commit 000000000000"), remote.at("0" * 40):
        pass


def test_what_is_left_of_a_clone_that_was_cut_off_is_no_clone(clones, monkeypatch, tmp_path):
    """Git would take the repository around an empty folder, which is the person's own."""
    git(tmp_path, "clone", "--quiet", str(clones["one"].parent / "origin.git"), "mine")
    stay_in(tmp_path / "mine", monkeypatch)
    Path(remote.CLONE).mkdir(parents=True)
    clone = remote.prepare_clone()
    assert (clone / ".git").is_dir()
    assert (clone / ".venv").exists()
    assert remote.prepare_clone() == clone


def head() -> str:
    return subprocess.check_output(["git", "rev-parse", "HEAD"], text=True).strip()


@pytest.mark.parametrize(
    ("tags", "worker"),
    [([], ""), (["gpu-team"], ""), (["gpu-team", f"{dispatch.TAKEN}one"], "one")],
)
def test_a_tag_of_a_person_is_no_worker(tags, worker):
    assert dispatch.worker_of(SimpleNamespace(tags=tags)) == worker
