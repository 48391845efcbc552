import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient, MlflowException
from tests.conftest import ROOT

from hour9.params import Refused
from hour9.registry import tracking
from hour9.registry.lineage import git_state, patch
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


def test_a_patch_applies_whatever_the_git_settings_of_its_maker(project, tmp_path):
    def git(*arguments: str, **more: Any) -> None:
        subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments], check=True, **more
        )

    git("init", "-q")
    git("add", "params.yaml", "src/hour9/__init__.py")
    git("commit", "-qm", "all")
    for setting in ("diff.external true", "color.ui always", "diff.noprefix true"):
        git("config", *setting.split())
    Path("params.yaml").write_text("a: 1\n")
    git("clone", "-q", ".", str(tmp_path / "clone"))
    git("apply", "-", cwd=tmp_path / "clone", input=patch().encode())
    assert (tmp_path / "clone/params.yaml").read_text() == "a: 1\n"


def test_an_empty_address_is_none(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert tracking.address() == tracking.STORE


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


@pytest.mark.parametrize("half", ["", '{"run_id": "12'])
def test_half_a_note_of_the_run_means_a_new_run(client, tmp_path, half):
    (tmp_path / "run.json").write_text(half)
    with TrainingRun("toy-a", SETTINGS, tmp_path) as run:
        pass
    assert json.loads((tmp_path / "run.json").read_text()) == {"run_id": run.run_id}


def test_a_full_disk_leaves_no_half_note(client, tmp_path, monkeypatch):
    def write_text(path: Path, text: str, **_: str) -> None:
        path.write_bytes(text[:5].encode())
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_text", write_text)
    with pytest.raises(OSError, match="No space"):
        TrainingRun("toy-a", SETTINGS, tmp_path).__enter__()
    assert not (tmp_path / "run.json").exists()


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
