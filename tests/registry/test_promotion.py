"""Promotion on a real registry, with two trained versions: 1 drives badly, 2 as well as can be."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from safetensors.numpy import save_file
from tests.conftest import TREE, copy_project, stages_of, stay_in

from hour9.cli import main
from hour9.config import set_params
from hour9.registry import journal, promotion, reproduce, tracking
from hour9.registry.lineage import dvc_md5
from hour9.registry.promotion import Refused, guard, promote, rollback

LENIENT = ["tasks.taxi.thresholds.floor=-1000.0", "tasks.taxi.thresholds.overfitting=1000.0"]
STEPS = (60_000, 600_000)


@pytest.fixture(scope="module")
def two_versions(tmp_path_factory, warm) -> Path:
    """A project whose registry has the two; a commit holds it all."""
    folder = copy_project(tmp_path_factory.mktemp("promotion") / "project")
    stage = stages_of(folder, warm)
    with pytest.MonkeyPatch.context() as patch:
        stay_in(folder, patch)
        git("init", "-q")
        git("add", *TREE)
        for kind in ("ingest", "validate"):
            stage(kind, "taxi")
        for steps in STEPS:
            set_params([*LENIENT, f"candidates.taxi-qlearning.steps={steps}"])
            git("-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qam", "state")
            for kind in ("train", "evaluate", "judge"):
                stage(kind, "taxi-qlearning")
            stage("register", "taxi")
        dvc("commit", "-q", "-f", *(f"{kind}@taxi" for kind in ("ingest", "validate")))
        dvc(
            "commit",
            "-q",
            "-f",
            *(f"{kind}@taxi-qlearning" for kind in ("train", "evaluate", "judge")),
        )
    return folder


def dvc(*arguments: str) -> None:
    command = [str(Path(sys.executable).with_name("dvc")), *arguments]
    subprocess.run(command, env={**os.environ, "DVC_SITE_CACHE_DIR": ".hour9/dvc"}, check=True)


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True)


@pytest.fixture
def client(two_versions, monkeypatch) -> MlflowClient:
    """Its registry, with nothing promoted."""
    stay_in(two_versions, monkeypatch)
    monkeypatch.setattr(tracking, "STORE", f"sqlite:///{two_versions}/mlruns/mlflow.db")
    tracking.connect.cache_clear()
    client = tracking.connect()
    yield client
    for entry in journal.entries("taxi"):
        client.delete_registered_model(f"taxi.journal.{entry.number:04d}")
    for name in ("champion", "previous"):
        client.delete_registered_model_alias("taxi", name)
    client.set_registered_model_tag("taxi", journal.HEAD, "")
    tracking.connect.cache_clear()


def aliases(client: MlflowClient) -> dict[str, str]:
    found = client.get_registered_model("taxi").aliases
    return {name: str(n) for name, n in found.items() if name != "challenger"}


def test_the_first_champion_needs_its_gates_and_no_rival(client):
    entry = promote("taxi", "2")
    assert aliases(client) == {"champion": "2"}
    assert (entry.action, entry.champion, entry.forced) == ("promote", "2", False)


def test_a_better_version_takes_over_and_the_old_one_is_kept(client):
    promote("taxi", "1", reason="its settings are not today's")
    entry = promote("taxi", "2")
    assert aliases(client) == {"champion": "2", "previous": "1"}
    (verdict,) = [v for v in entry.verdicts if v["name"] == "champion"]
    assert verdict["verdict"] == "pass"
    assert verdict["interval"][0] > 0


def test_a_worse_version_is_refused_with_the_reason_and_the_way_out(client):
    promote("taxi", "2")
    with pytest.raises(Refused, match=r"champion reject: worse.*\n.*--version 1 --reason"):
        promote("taxi", "1")
    assert aliases(client) == {"champion": "2"}
    assert len(journal.entries("taxi")) == 1


def test_a_forced_promotion_is_marked_for_ever_and_rewrites_no_verdict(client):
    promote("taxi", "2")
    promote("taxi", "1", reason="a customer needs it", who="anna")
    tags = client.get_model_version("taxi", "1").tags
    assert tags["hour9.forced"] == "anna: a customer needs it"
    assert json.loads(tags["hour9.promotion"])[0]["verdict"] == "reject"
    entry = journal.entries("taxi")[-1]
    assert entry.forced
    assert "FORCED" in str(entry)


def test_rollback_goes_back_and_is_journalled(client):
    promote("taxi", "1", reason="the first")
    promote("taxi", "2")
    entry = rollback("taxi", "it drove into a wall", "bert")
    assert aliases(client) == {"champion": "1", "previous": "2"}
    assert (entry.action, entry.who, entry.why) == ("rollback", "bert", "it drove into a wall")


def test_nothing_to_go_back_to_is_said(client):
    promote("taxi", "2")
    with pytest.raises(Refused, match="no previous champion"):
        rollback("taxi")


def test_a_crash_between_journal_and_aliases_is_repaired_by_the_next_call(client, monkeypatch):
    promote("taxi", "1", reason="the first")
    with monkeypatch.context() as crash:
        crash.setattr(promotion, "settle", lambda *_: journal.entries("taxi")[-1])
        promote("taxi", "2")  # the process dies before it moves an alias
    assert aliases(client) == {"champion": "1"}
    assert "follow the journal" in guard("taxi")
    assert aliases(client) == {"champion": "2", "previous": "1"}


def test_an_alias_set_by_hand_on_a_worse_version_is_put_back_and_the_version_says_why(client):
    promote("taxi", "2")
    client.set_registered_model_alias("taxi", "champion", "1")  # as the MLflow UI does
    guard("taxi")
    assert aliases(client) == {"champion": "2"}
    version = client.get_model_version("taxi", "1")
    assert "put back: " in version.tags["hour9.put_back"]
    assert "worse" in version.description


def test_an_alias_set_by_hand_on_a_better_version_stays_and_is_journalled(client):
    promote("taxi", "1", reason="the first")
    client.set_registered_model_alias("taxi", "champion", "2")
    guard("taxi")
    assert aliases(client) == {"champion": "2", "previous": "1"}
    assert journal.entries("taxi")[-1].action == "adopt"


def test_a_quiet_registry_is_left_alone(client):
    promote("taxi", "2")
    assert guard("taxi") == ""


@pytest.mark.parametrize("what", ["model", "evidence"])
def test_changed_bytes_are_refused_whatever_the_reason(client, what, tmp_path):
    version = client.get_model_version("taxi", "2")
    folder = Path(version.source.removeprefix("file://"))
    (file,) = [
        f
        for f in folder.rglob("*")
        if f.name in ("model.safetensors", "evidence.parquet") and f.name.startswith(what)
    ]
    shutil.copy(file, tmp_path / "kept")
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    try:
        with pytest.raises(Refused, match=f"its {what} is not what was registered"):
            promote("taxi", "2", reason="I insist")
        assert aliases(client) == {}
    finally:
        shutil.copy(tmp_path / "kept", file)


def test_other_data_makes_a_version_stale(client, two_versions):
    cases = two_versions / "data/taxi/cases.parquet"
    kept = cases.read_bytes()
    cases.write_bytes(kept + b"?")
    try:
        with pytest.raises(Refused, match="stale: it was judged on other data"):
            promote("taxi", "2")
    finally:
        cases.write_bytes(kept)


def test_a_champion_that_cannot_be_loaded_holds(client):
    promote("taxi", "1", reason="the first")
    version = client.get_model_version("taxi", "1")
    folder = Path(version.source.removeprefix("file://"))
    (file,) = folder.rglob("model.safetensors")
    kept = file.read_bytes()
    file.write_bytes(kept[:100])
    try:
        with pytest.raises(Refused, match="champion hold: version 1 cannot be compared"):
            promote("taxi", "2")
    finally:
        file.write_bytes(kept)


def test_the_command_says_what_happened_and_the_journal_shows_it(client, capsys):
    assert main(["promote", "taxi", "--version", "2"]) == 0
    assert main(["promote", "taxi", "--version", "2"]) == 1
    assert "champion already" in capsys.readouterr().err
    assert main(["journal", "taxi"]) == 0
    assert "promote, champion 2" in capsys.readouterr().out
    assert main(["promote", "tax"]) == 1
    assert "there are sentiment, " in capsys.readouterr().err


def test_a_version_is_traced_to_its_raw_bytes(client):
    chain = dict(reproduce.trace("taxi/2"))
    assert chain["data"] == dvc_md5(Path("data/taxi"))
    assert chain["model"] == dvc_md5(Path("models/taxi/taxi-qlearning"))
    assert len(chain["code"]) == 40


def test_a_version_is_trained_again_from_its_own_commit_to_the_same_bytes(client):
    """Version 1: params.yaml has moved on since."""
    assert reproduce.reproduce("taxi/1", say=lambda _: None) == ("identical", [])
    assert Path("params.yaml").read_text().count(f"steps: {STEPS[1]}")


def test_where_two_models_differ_is_said(tmp_path):
    for name, value in (("a", 1.0), ("b", 1.5)):
        (tmp_path / name).mkdir()
        save_file({"q": np.full(3, value)}, tmp_path / name / "model.safetensors")
    outcome, where = reproduce.compare(tmp_path / "a", tmp_path / "b")
    assert (outcome, where) == ("different", ["model.safetensors: q differs by up to 0.5"])
