import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient, MlflowException
from tests.conftest import ROOT

from hour9.params import Refused
from hour9.registry import tracking
from hour9.registry.lineage import git_state
from hour9.registry.tracking import TrainingRun, experiment

SETTINGS = {"task": "toy", "seed": 0}


def test_many_first_users_of_a_fresh_store_make_one_database_and_one_experiment(project):
    code = "from hour9.registry.tracking import experiment; print(experiment('toy'))"
    users = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    answers = [user.communicate() for user in users]
    assert [user.returncode for user in users] == [0] * 4, answers
    assert len({said for said, _ in answers}) == 1


def test_a_file_that_git_is_told_not_to_show_makes_the_tree_dirty_all_the_same(project):
    def git(*arguments: str) -> None:
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments], check=True)

    shutil.copy(ROOT / ".gitignore", ".")
    git("init", "-q")
    git("add", "--all")
    git("commit", "-qm", "all")
    git("config", "status.showUntrackedFiles", "no")
    assert git_state()["git_dirty"] == "false"
    Path("src/hour9/extra.py").touch()
    assert git_state()["git_dirty"] == "true"
    Path(".git/index").write_text("no index")
    assert git_state()["git_dirty"] == "unknown"


def test_a_moved_project_does_not_write_where_it_was(client, project, monkeypatch):
    experiment("toy")
    experiment("toy")
    monkeypatch.setattr(tracking, "ARTIFACTS", Path("elsewhere/artifacts"))
    with pytest.raises(Refused, match=r"mlruns was made in another folder, .*/toy, and would"):
        experiment("toy")


def test_a_training_that_was_killed_goes_on_in_its_run_and_repeats_no_point(client, tmp_path):
    curve = [{"step": i, "loss": 1.0 / (i + 1)} for i in range(5)]
    killed = TrainingRun("toy-a", SETTINGS, tmp_path)
    killed.__enter__()
    killed.publish(curve[:3])  # and no more is heard of it

    with TrainingRun("toy-a", SETTINGS, tmp_path) as resumed:
        resumed.publish(curve[:2])  # it resumes from before what was published
        resumed.finish(curve, tmp_path)
    assert resumed.run_id == killed.run_id
    run = client.get_run(resumed.run_id)
    assert run.info.status == "FINISHED"
    assert [m.step for m in client.get_metric_history(run.info.run_id, "loss")] == [0, 1, 2, 3, 4]


def test_a_training_that_raises_leaves_a_failed_run(client, tmp_path):
    with pytest.raises(KeyError), TrainingRun("toy-a", SETTINGS, tmp_path) as run:
        raise KeyError("x")
    assert client.get_run(run.run_id).info.status == "FAILED"


def test_two_trainings_may_name_their_data_at_the_same_moment(client, project, monkeypatch):
    """MLflow looks whether it knows the data, then adds them: of two at once, one is refused."""
    (project / "data/toy").mkdir(parents=True)
    really, refused = MlflowClient.log_inputs, []

    def log_inputs(self: MlflowClient, *given: object, **named: object) -> None:
        if not refused:
            refused.append(given)
            raise MlflowException("UNIQUE constraint failed: datasets.name")
        really(self, *given, **named)

    monkeypatch.setattr(MlflowClient, "log_inputs", log_inputs)
    with TrainingRun("toy-a", SETTINGS, project) as run:
        pass
    (known,) = client.get_run(run.run_id).inputs.dataset_inputs
    assert known.dataset.name == "toy"
    assert refused
