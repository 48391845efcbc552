"""Promotion on a real registry, with two trained versions: 1 drives badly, 2 as well as can be."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient, MlflowException
from safetensors.numpy import save_file
from tests.conftest import TREE, copy_project, stages_of, stay_in

from hour9 import clean as cleaning
from hour9 import dag, monitor
from hour9.cli import MISTAKE, NO, main
from hour9.config import set_params
from hour9.params import STANDING, read_params
from hour9.registry import (
    examination,
    journal,
    packages,
    promotion,
    reproduce,
    tracking,
    versions,
)
from hour9.registry.examination import Examination
from hour9.registry.lineage import dvc_md5
from hour9.registry.promotion import Refused, guard, promote, rollback
from hour9.registry.reproduce import NotReproducible, find
from hour9.registry.restore import before_checkout
from hour9.task import load_task, read_tables

LENIENT = [
    *("tasks.taxi.thresholds.floor=-1000.0", "tasks.taxi.thresholds.overfitting=1000.0"),
    "tasks.taxi.thresholds.latency=1000.0",  # other tests run beside it
]
STEPS = (60_000, 600_000)
AUTHOR = ("-c", "user.name=t", "-c", "user.email=t@t")


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
            git(*AUTHOR, "commit", "-qam", "state")
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


@pytest.mark.parametrize("number", ["02", " 2"])
def test_a_champion_is_itself_however_its_number_is_written(client, number):
    promote("taxi", "2")
    with pytest.raises(Refused, match="taxi version 2 is the champion already"):
        promote("taxi", number, reason="typed so")
    assert len(journal.entries("taxi")) == 1


def test_what_moves_an_alias_makes_the_page_old(client):
    STANDING.write_text("[]")
    promote("taxi", "2")
    assert not STANDING.exists()


def test_a_version_made_by_hand_is_told_so(client):
    made = client.create_model_version("taxi", client.get_model_version("taxi", "2").source)
    try:
        with pytest.raises(NotReproducible, match="was not registered by hour9: nothing is known"):
            find(f"taxi/{made.version}")
    finally:
        client.delete_model_version("taxi", made.version)


def test_a_crash_between_journal_and_aliases_is_repaired_by_the_next_call(client, monkeypatch):
    promote("taxi", "1", reason="the first")
    with monkeypatch.context() as crash:
        crash.setattr(promotion, "settle", lambda *_: journal.entries("taxi")[-1])
        promote("taxi", "2")  # the process dies before it moves an alias
    assert aliases(client) == {"champion": "1"}
    assert "follow the journal" in guard("taxi")
    assert aliases(client) == {"champion": "2", "previous": "1"}


def test_a_rollback_that_was_cut_off_is_finished_and_not_turned_back(client, monkeypatch):
    promote("taxi", "1", reason="the first")
    promote("taxi", "2")
    with monkeypatch.context() as crash:
        crash.setattr(promotion, "settle", lambda *_: journal.entries("taxi")[-1])
        rollback("taxi", "it drove into a wall")
    assert aliases(client) == {"champion": "2", "previous": "1"}
    assert rollback("taxi").why == "it drove into a wall"
    assert aliases(client) == {"champion": "1", "previous": "2"}
    assert len(journal.entries("taxi")) == 3


def test_a_run_that_takes_no_copy_of_the_journal_stops_no_promotion(client, monkeypatch, capsys):
    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(MlflowClient, "log_text", full)
    promote("taxi", "2")
    assert aliases(client) == {"champion": "2"}
    assert "takes no copy of the journal's entry: no space left" in capsys.readouterr().err


def test_a_registry_that_does_not_answer_is_not_an_empty_one(client, monkeypatch, capsys):
    def silent(*_: object) -> None:
        raise MlflowException("Max retries exceeded")

    with monkeypatch.context() as cut:
        cut.setattr(MlflowClient, "get_registered_model", silent)
        for command in (["promote", "taxi"], ["predict", "taxi", "{}"]):
            assert main(command) == MISTAKE
            assert capsys.readouterr().err == "Max retries exceeded\n"


def test_a_champion_set_by_hand_whose_package_is_damaged_is_put_back(client, damaged):
    promote("taxi", "2")
    client.set_registered_model_alias("taxi", "champion", "1")
    assert "is not whole" in guard("taxi")
    assert aliases(client) == {"champion": "2"}


@pytest.fixture
def damaged(client):
    """Version 1, whose gates are cut off in the middle until the test's end."""
    source = Path(client.get_model_version("taxi", "1").source.removeprefix("file://"))
    (file,) = source.rglob("gates.json")
    kept = file.read_bytes()
    file.write_bytes(kept[:40])
    yield
    file.write_bytes(kept)


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


def test_a_challenger_set_by_hand_goes_back_to_the_one_that_register_chose(client):
    def challenger() -> str:
        return promotion.alias("taxi", "challenger")

    client.set_registered_model_alias("taxi", "challenger", "1")
    assert "register chose version 2" in guard("taxi")
    assert challenger() == "2"
    assert guard("taxi") == ""
    client.delete_registered_model_alias("taxi", "challenger")
    assert "taken from version 2 by hand and put back" in guard("taxi")
    assert challenger() == "2"
    client.set_registered_model_tag("taxi", versions.CHOSEN, "")  # no candidate passed
    try:
        assert "register chose none" in guard("taxi")
        assert challenger() == ""
        client.delete_registered_model_tag("taxi", versions.CHOSEN)
        client.set_registered_model_alias("taxi", "challenger", "1")
        assert "nothing says whether challenger was set by hand" in guard("taxi")
        assert challenger() == "1"
    finally:
        versions.set_challenger("taxi", "2")
    assert guard("taxi") == ""


def test_without_a_journal_no_alias_of_ours_stays(client):
    client.set_registered_model_alias("taxi", "previous", "1")
    assert "follow the journal again" in guard("taxi")
    assert aliases(client) == {}
    assert guard("taxi") == ""


def test_what_reads_as_one_of_our_aliases_is_taken_away_and_peoples_own_stay(client):
    for name in ("Champion", "CHALLENGER", "staging"):
        client.set_registered_model_alias("taxi", name, "1")
    said = guard("taxi")
    assert all(f"{name} was set on this version" in said for name in ("Champion", "CHALLENGER"))
    assert aliases(client) == {"staging": "1"}
    assert guard("taxi") == ""
    client.delete_registered_model_alias("taxi", "staging")


def test_a_champion_that_nobody_judged_is_put_back_in_words(client):
    source = client.get_model_version("taxi", "2").source
    foreign = str(client.create_model_version("taxi", source).version)
    client.set_registered_model_alias("taxi", "champion", foreign)
    assert "was not registered by hour9" in guard("taxi")
    assert aliases(client) == {}
    client.delete_model_version("taxi", foreign)


def test_a_champion_that_was_deleted_by_hand_is_missed_in_words(client, capsys, monkeypatch):
    """A third version, with the bytes of the second."""
    two = client.get_model_version("taxi", "2")
    three = client.create_model_version("taxi", two.source, two.run_id, two.tags)
    for version in (two, three):
        promotion.enter(Examination(version, []), promotion.settle("taxi"), "promote", "so", "anna")
    client.delete_model_version("taxi", three.version)
    lost = f"version {three.version}, the champion by the journal, was deleted; hour9 rollback taxi"
    assert lost in guard("taxi")
    monkeypatch.setattr(dag, "stale", dict)
    assert main(["status"]) == 0
    assert lost in capsys.readouterr().out
    with pytest.raises(Refused, match=f"no version {three.version}"):
        promote("taxi", str(three.version))
    rollback("taxi")
    assert aliases(client) == {"champion": "2"}
    assert guard("taxi") == ""
    with pytest.raises(Refused, match=f"no version {three.version}"):
        rollback("taxi")


def test_a_slow_promotion_does_not_undo_the_aliases_of_a_later_one(client, monkeypatch):
    """Between its entry and its last alias another promotion begins and ends."""
    put, later = promotion.put_alias, []

    def slow(task: str, name: str, number: str) -> None:
        if not later:
            later.append(name)
            promote("taxi", "2", reason="came between")
        put(task, name, number)

    monkeypatch.setattr(promotion, "put_alias", slow)
    promote("taxi", "1", reason="the first")
    assert aliases(client) == {"champion": "2", "previous": "1"}
    assert journal.breaks("taxi") == []
    assert journal.head("taxi")[0] == 2


@pytest.mark.parametrize("name", ["champion", "previous"])
def test_an_alias_taken_away_or_moved_by_hand_follows_the_journal_again(client, name):
    promote("taxi", "1", reason="the first")
    promote("taxi", "2")
    client.delete_registered_model_alias("taxi", name)
    assert "follow the journal again" in guard("taxi")
    assert aliases(client) == {"champion": "2", "previous": "1"}
    assert guard("taxi") == ""


def test_a_broken_journal_lets_nothing_through_without_a_reason_that_it_keeps(client):
    promote("taxi", "1", reason="the first")
    entry = journal.entries("taxi")[0]
    text = replace(entry, who="nobody").text()
    client.set_registered_model_tag("taxi.journal.0001", journal.ENTRY, text)
    with pytest.raises(Refused, match="the journal is broken: entry 1 of taxi was changed"):
        promote("taxi", "2")
    assert promote("taxi", "2", reason="anna knows").forced
    assert promotion.new_breaks("taxi") == []
    assert rollback("taxi").champion == "1"
    assert not journal.entries("taxi")[-1].forced


def test_a_rollback_goes_to_the_bytes_that_were_promoted_or_nowhere(client):
    """Somebody changed the version and its tags alike: the journal still knows."""
    promote("taxi", "1", reason="the first")
    promote("taxi", "2")
    kept = client.get_model_version("taxi", "1").tags["hour9.data_md5"]
    client.set_model_version_tag("taxi", "1", "hour9.data_md5", "another")
    try:
        with pytest.raises(Refused, match="its data is not what entry 1 promoted"):
            rollback("taxi")
    finally:
        client.set_model_version_tag("taxi", "1", "hour9.data_md5", kept)
    assert aliases(client) == {"champion": "2", "previous": "1"}


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


@pytest.fixture
def alone(monkeypatch):
    """Nothing is measured beside another version: what else is asked of one is told sooner."""
    monkeypatch.setattr(examination, "judge_now", lambda *_: [])


@pytest.mark.parametrize("word", ["reject", "hold"])
def test_a_version_that_one_of_its_own_gates_did_not_let_through_is_refused(
    client, monkeypatch, alone, word
):
    def judged_so(version: Any, package: packages.Package) -> list[str]:
        package.gates["gates"][-1] |= {"verdict": word, "why": "it was so"}
        return []

    monkeypatch.setattr(examination, "check_bytes", judged_so)
    monkeypatch.setattr(examination, "staleness", lambda *_: [])
    with pytest.raises(Refused, match=rf"taxi version 2 is not promoted: \w+ {word}: it was so"):
        promote("taxi", "2")
    assert aliases(client) == {}
    assert promote("taxi", "2", reason="I insist").forced


def test_a_version_that_no_gate_was_asked_of_is_refused(client, monkeypatch, alone):
    monkeypatch.setattr(
        examination, "check_bytes", lambda _, package: package.gates.update(gates=[])
    )
    monkeypatch.setattr(examination, "staleness", lambda *_: [])
    with pytest.raises(Refused, match="taxi version 2 is not promoted: no gate was asked"):
        promote("taxi", "2")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("candidates.taxi-qlearning.steps=7", r"params\.yaml has other settings for its candidate"),
        ("tasks.taxi.thresholds.floor=-999.0", r"params\.yaml now asks otherwise for floor\W"),
        ("tasks.taxi.thresholds.floor=null", r"params\.yaml now asks otherwise for floor\W"),
        ("tasks.taxi.thresholds.budget=9.0", r"params\.yaml now asks otherwise for budget\W"),
    ],
)
def test_other_settings_and_other_thresholds_make_a_version_stale(client, alone, change, said):
    kept = Path("params.yaml").read_text()
    set_params([change])
    try:
        with pytest.raises(Refused, match=f"stale: {said}"):
            promote("taxi", "2")
    finally:
        Path("params.yaml").write_text(kept)


@pytest.mark.parametrize("dirty", ["true", "unknown"])
def test_what_was_made_from_changes_passes_once_a_commit_makes_the_same(
    client, monkeypatch, alone, dirty
):
    client.set_model_version_tag("taxi", "2", "hour9.git_dirty", dirty)
    monkeypatch.setattr(examination, "stale_stages", lambda _: [])
    try:
        with monkeypatch.context() as changed:
            state = {"git_commit": "c", "git_dirty": "true"}
            changed.setattr(examination, "git_state", lambda: state)
            with pytest.raises(Refused, match="a tree with changes that no commit holds"):
                promote("taxi", "2")
        assert not promote("taxi", "2").forced
        assert client.get_model_version("taxi", "2").tags["hour9.git_dirty"] == "false"
    finally:
        client.set_model_version_tag("taxi", "2", "hour9.git_dirty", "false")


def test_without_a_challenger_a_number_has_to_be_given(client):
    client.delete_registered_model_alias("taxi", "challenger")
    try:
        with pytest.raises(Refused, match="taxi has no challenger: no candidate passed its gates"):
            promote("taxi")
    finally:
        versions.set_challenger("taxi", "2")
    assert aliases(client) == {}


def test_other_data_makes_a_version_stale(client, two_versions):
    cases = two_versions / "data/taxi/cases.parquet"
    kept = cases.read_bytes()
    cases.write_bytes(kept + b"?")
    try:
        with pytest.raises(Refused, match="stale: it was judged on other data"):
            promote("taxi", "2")
    finally:
        cases.write_bytes(kept)


def test_a_version_whose_source_was_changed_since_is_stale(client):
    kept = Path("params.yaml").read_text()
    set_params(["tasks.taxi.source.seed=7"])
    try:
        with pytest.raises(Refused, match="stale: DVC would run ingest@taxi again"):
            promote("taxi", "2")
    finally:
        Path("params.yaml").write_text(kept)


def test_where_the_data_are_gone_no_gate_that_needs_them_passes(client):
    promote("taxi", "1", reason="the first")
    Path("data/taxi").rename("data/kept")
    try:
        with pytest.raises(Refused) as refused:
            promote("taxi", "2")
    finally:
        Path("data/kept").rename("data/taxi")
    for gate in ("champion", "latency"):
        said = rf"{gate} hold: version \d cannot be compared: data/taxi holds no cases"
        assert re.search(said, str(refused.value))


def test_where_the_outs_are_gone_nobody_can_tell_whether_the_code_has_changed(client):
    Path("models/taxi").rename("models/kept")
    try:
        with pytest.raises(Refused, match="its outs are not here, to tell whether the code"):
            promote("taxi", "2")
    finally:
        Path("models/kept").rename("models/taxi")


def test_of_a_candidate_that_params_no_longer_has_no_version_passes(client, monkeypatch):
    params = {**read_params(), "candidates": {}}
    monkeypatch.setattr(examination, "read_params", lambda: params)
    with pytest.raises(Refused, match=r"params\.yaml has no candidate taxi-qlearning any more"):
        promote("taxi", "2")


def test_latency_is_beside_what_the_outs_are_and_else_beside_what_is_still_whole(client):
    """Version 3 is a later trial of other settings; then `clean` took its package."""
    tags = {"hour9.identity": "another", "hour9.candidate": "taxi-qlearning"}
    tried = client.create_model_version("taxi", "nowhere", tags=tags).version
    try:
        assert examination.of_today("taxi", "taxi-qlearning") == "2"
        Path("models/taxi").rename("models/kept")
        assert examination.of_today("taxi", "taxi-qlearning") == str(tried)
        client.set_model_version_tag("taxi", tried, versions.CLEANED, "today")
        assert examination.of_today("taxi", "taxi-qlearning") == "2"
    finally:
        Path("models/kept").rename("models/taxi")
        client.delete_model_version("taxi", tried)


def test_a_package_that_is_gone_is_refused_in_words(client, tmp_path):
    package = Path(client.get_model_version("taxi", "2").source.removeprefix("file://"))
    package.rename(tmp_path / "package")
    try:
        with pytest.raises(Refused, match="taxi version 2: version 2 of taxi is not whole"):
            promote("taxi", "2")
    finally:
        (tmp_path / "package").rename(package)


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
    assert main(["promote", "taxi", "--version", "2"]) == NO
    assert "champion already" in capsys.readouterr().err
    assert main(["journal", "taxi"]) == 0
    assert "promote, champion 2" in capsys.readouterr().out
    assert main(["promote", "taxi", "--version", "99"]) == MISTAKE
    assert "taxi has no version 99; there are [" in capsys.readouterr().err
    assert main(["promote", "tax"]) == MISTAKE
    assert "there are sentiment, " in capsys.readouterr().err


def test_a_version_is_traced_to_its_raw_bytes(client):
    chain = dict(reproduce.trace("taxi/2"))
    assert chain["data"] == dvc_md5(Path("data/taxi"))
    assert chain["model"] == dvc_md5(Path("models/taxi/taxi-qlearning"))
    assert len(chain["code"]) == 40


def test_a_version_is_trained_again_from_its_own_commit_to_the_same_bytes(client):
    """Version 1: params.yaml has moved on since."""
    before = tree()
    assert reproduce.reproduce("taxi/1", say=lambda _: None) == ("identical", [])
    assert Path("params.yaml").read_text().count(f"steps: {STEPS[1]}")
    assert tree() == before


def tree() -> tuple[bytes | str, ...]:
    """All that a reproduction must leave as it is."""
    status = subprocess.check_output(["git", "status", "--porcelain", "--ignored"])
    return status, *(dvc_md5(Path(name)) for name in ("data", "models", "reports"))


@pytest.mark.parametrize(
    ("by", "tolerance", "outcome"),
    [(0.5, 0.0, "different"), (1e-4, 1e-3, "within tolerance"), (1e-2, 1e-3, "different")],
)
def test_where_two_models_differ_is_said(tmp_path, by, tolerance, outcome):
    for name, value in (("a", 1.0), ("b", 1.0 + by)):
        (tmp_path / name).mkdir()
        save_file({"q": np.full(3, value)}, tmp_path / name / "model.safetensors")
        (tmp_path / name / "config.json").write_text(json.dumps({"cut": [1, value], "as": "q"}))
    found = reproduce.compare(tmp_path / "a", tmp_path / "b", tolerance)
    places = ("config.json: /cut/1", "model.safetensors: q")
    assert found == (outcome, [f"{place} differs by {by:.3g}" for place in places])


@pytest.mark.parametrize("other", ['{"as": "r"}', '{"as": "q", "more": 1}', '{"as": ["q"]}'])
def test_no_tolerance_covers_what_is_no_number(tmp_path, other):
    for name, text in (("a", '{"as": "q"}'), ("b", other)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(text)
    assert reproduce.compare(tmp_path / "a", tmp_path / "b", 0.9)[0] == "different"


@pytest.mark.parametrize("name", ["config.json", "model.onnx", "vocabulary"])
def test_no_tolerance_covers_other_bytes_of_the_same_numbers(tmp_path, name):
    for folder, text in (("a", '{"cut": 1.0}'), ("b", '{"cut":  1.0}')):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(text)
    found = reproduce.compare(tmp_path / "a", tmp_path / "b", 0.9)
    assert found == ("different", [f"{name}: other bytes"])


def test_a_file_that_mlflow_would_run_was_changed_and_nothing_is_promoted(client):
    """The package's own model.py and MLmodel, not only weights, code and evidence."""
    version = client.get_model_version("taxi", "2")
    (file,) = Path(version.source.removeprefix("file://")).glob("*.py")
    kept = file.read_text()
    file.write_text(kept + "\nprint('mine')\n")
    try:
        with pytest.raises(Refused, match="its package is not what was registered"):
            promote("taxi", "2", reason="I insist")
    finally:
        file.write_text(kept)


def test_of_many_threads_that_have_all_judged_one_promotes_and_the_others_are_told(
    client, monkeypatch
):
    """The long form, 1,000 over four processes and real servers, is `make soak`."""
    threads = 6
    read, write = threading.Barrier(threads, timeout=120), journal.append

    def when_all_have_read(*said: Any) -> journal.Entry:
        read.wait()
        return write(*said)

    def attempt(number: int) -> str:
        try:
            return promote("taxi", "2", reason="all at once", who="the same").champion
        except journal.Overtaken as told:
            return str(told)

    monkeypatch.setattr(journal, "append", when_all_have_read)
    with ThreadPoolExecutor(threads) as pool:
        said = list(pool.map(attempt, range(threads)))
    assert said.count("2") == 1
    assert sum("nothing was changed" in words for words in said) == threads - 1
    assert len(journal.entries("taxi")) == 1
    assert journal.breaks("taxi") == []
    assert aliases(client) == {"champion": "2"}
    assert guard("taxi") == ""


def test_status_shows_what_promote_judged_beside_the_other_gates(client, capsys):
    promote("taxi", "1", reason="the first")
    promote("taxi", "2")
    capsys.readouterr()
    assert main(["status"]) == 0
    assert "behind the outs" not in capsys.readouterr().out  # though most tasks have no outs
    assert main(["status", "--json"]) == 0
    (row,) = [r for r in json.loads(capsys.readouterr().out) if r["task"] == "taxi"]
    verdicts = {gate["name"]: gate["verdict"] for gate in row["gates"]}
    assert verdicts["champion"] == "pass"
    assert "latency" in verdicts
    assert row["aliases"] == ["challenger", "champion"]


def test_while_a_stage_runs_nobody_says_that_nothing_is_stale(client, capsys, monkeypatch):
    def busy() -> None:
        raise dag.Busy("a stage is running")

    monkeypatch.setattr(dag, "survey", busy)
    assert main(["status", "--json"]) == 0
    assert {row["stale"] for row in json.loads(capsys.readouterr().out)} == {None}


def test_a_monitor_over_a_real_version_says_fine_watch_and_retrain(client, capsys, tmp_path):
    task = load_task("taxi")
    version = packages.load(client.get_model_version("taxi", "2"))
    seen = monitor.training_requests(task, read_tables(Path("data/taxi")), version.predict)
    files = {
        "fine": seen.sample(200, replace=True, random_state=0),
        "watch": seen.head(5),
        "retrain": seen.head(1).loc[[0] * 200],
    }
    for verdict, rows in files.items():
        rows.to_json(tmp_path / verdict, orient="records", lines=True)
        status = main(["monitor", "taxi", str(tmp_path / verdict), "--json"])
        assert json.loads(capsys.readouterr().out)["verdict"] == verdict
        assert status == (verdict == "retrain")

    seen.head(1).loc[[0] * 200].to_csv(tmp_path / "blank.csv", index=False)
    with (tmp_path / "blank.csv").open("a") as file:
        file.write('""\n2.5\n')
    assert main(["monitor", "taxi", str(tmp_path / "blank.csv"), "--json"]) == NO
    found = json.loads(capsys.readouterr().out)
    assert [line.split(":")[0] for line in found["refused"]] == ["row 200", "row 201"]
    assert main(["monitor", "taxi", str(tmp_path / "nowhere.csv")]) == MISTAKE  # no `retrain`
    assert "nowhere.csv" in capsys.readouterr().err


def test_what_the_registry_lost_is_rebuilt_from_the_outs_and_may_follow_its_champion(
    client, tmp_path
):
    """The run and the package are gone until the test's end; the outs of version 2 lie here."""
    promote("taxi", "2")
    lost = client.get_model_version("taxi", "2")
    client.delete_run(lost.run_id)
    package = Path(lost.source.removeprefix("file://"))
    package.rename(tmp_path / "package")
    assert main(["register", "taxi"]) == 0
    assert len(client.search_model_versions("name = 'taxi'")) == 2
    try:
        assert main(["register", "taxi", "--rebuild"]) == 0
        made = client.get_model_version_by_alias("taxi", "challenger")
        assert made.version != lost.version
        assert made.tags["hour9.rebuilt"] == "of version 2: its run was deleted"
        assert made.tags["hour9.identity"] == lost.tags["hour9.identity"]
        assert client.get_run(made.run_id).data.metrics.keys() == (
            client.get_run(lost.run_id).data.metrics.keys()
        )
        promote("taxi")
        assert aliases(client)["champion"] == str(made.version)
        assert main(["register", "taxi", "--rebuild"]) == 0
        assert len(client.search_model_versions("name = 'taxi'")) == 3
    finally:
        client.restore_run(lost.run_id)
        (tmp_path / "package").rename(package)


def test_a_change_of_what_answers_alone_is_told_and_comes_by_a_rebuild(
    client, tmp_path, monkeypatch, capsys
):
    changed = shutil.copytree(versions.PACKAGE, tmp_path / "hour9")
    with (changed / "rl/taxi.py").open("a") as file:
        file.write("# mended")
    chosen = client.get_model_version_by_alias("taxi", "challenger").version
    with monkeypatch.context() as patch:
        patch.setattr(versions, "PACKAGE", changed)
        assert main(["register", "taxi"]) == 0
        said = f"version {chosen} of taxi answers by code that has changed since"
        assert said in capsys.readouterr().out
        assert main(["register", "taxi", "--rebuild"]) == 0
        made = client.get_model_version_by_alias("taxi", "challenger")
        assert made.version != chosen
        assert made.tags["hour9.rebuilt"].endswith(versions.OTHER_CODE)
        assert f"taxi/{chosen} (taxi-qlearning)" in freed()
        capsys.readouterr()
        assert main(["register", "taxi"]) == 0
        assert "changed since" not in capsys.readouterr().out
    client.delete_model_version("taxi", made.version)
    assert main(["register", "taxi"]) == 0
    assert client.get_model_version_by_alias("taxi", "challenger").version == chosen


def test_what_the_cache_lost_is_restored_from_the_registry(client, capsys):
    """Model, evidence and the cache's objects of both are deleted."""
    candidate = "taxi-qlearning"
    folders = [Path("models/taxi") / candidate, Path("reports/taxi") / candidate]
    before = [dvc_md5(folder) for folder in folders]
    newest = client.get_model_version_by_alias("taxi", "challenger").version
    for folder in folders:
        shutil.rmtree(folder)
    shutil.rmtree(".dvc/cache")
    assert main(["restore", f"taxi/{newest}"]) == 0
    assert "objects back into the cache; dvc checkout train@" in capsys.readouterr().out
    older = find("taxi/1")
    commit = older.tags["hour9.git_commit"]
    assert before_checkout(older) == f"git checkout {commit} -- dvc.lock, then "
    dvc("checkout", "-q", *(f"{kind}@{candidate}" for kind in ("train", "evaluate", "judge")))
    assert [dvc_md5(folder) for folder in folders] == before
    assert main(["restore", f"taxi/{newest}"]) == 0
    assert "lacks nothing" in capsys.readouterr().out
    dvc("commit", "-q", "-f", "ingest@taxi", "validate@taxi")  # into the cache again


def test_what_a_stash_names_is_no_garbage(client, capsys):
    def cleaned() -> str:
        capsys.readouterr()
        assert main(["clean"]) == 0
        return capsys.readouterr().out

    lock = Path("dvc.lock")
    content, before = lock.read_text(), cleaned()
    lock.write_text("")
    git("add", "-f", "dvc.lock")
    git(*AUTHOR, "commit", "-q", "-m", "no lock")
    try:
        lock.write_text(content)
        git(*AUTHOR, "stash", "push", "-q", "--", "dvc.lock")
        assert cleaned() == before
        lock.write_text("another")
        git(*AUTHOR, "stash", "push", "-q", "--", "dvc.lock")
        assert cleaned() == before
        git("stash", "drop", "-q")
        git("stash", "drop", "-q")
        assert cleaned() != before
    finally:
        git("reset", "-q", "--soft", "HEAD~1")
        git("rm", "-q", "--cached", "dvc.lock")
        lock.write_text(content)


def test_clean_leaves_a_cache_alone_that_other_checkouts_may_share(client, capsys, tmp_path):
    unnamed = tmp_path / "files/md5/ab" / ("c" * 30)
    unnamed.parent.mkdir(parents=True)
    unnamed.write_text("another checkout names it")
    dvc("cache", "dir", "--local", str(tmp_path))
    try:
        assert cleaning.cache() == []
    finally:
        dvc("config", "--local", "--unset", "cache.dir")
    assert f"the cache {tmp_path}" in capsys.readouterr().out


def test_clean_keeps_what_a_version_of_a_task_names_that_params_no_longer_has(client):
    tags = {"hour9.model_md5": "ab" + "c" * 30 + ".dir"}
    client.create_registered_model("gone")
    client.create_model_version("gone", "nowhere", tags=tags)
    try:
        assert tags["hour9.model_md5"] in cleaning.registered()
    finally:
        client.delete_registered_model("gone")


def test_clean_leaves_a_registry_alone_that_others_may_share(client, capsys, monkeypatch):
    monkeypatch.setattr(tracking, "address", lambda: "http://mlflow:5000")
    assert cleaning.artifacts() == []
    assert "the registry http://mlflow:5000 may hold" in capsys.readouterr().out


def test_clean_keeps_what_may_be_of_today_where_the_outs_are_not_here(client):
    """What was rebuilt since, it need not keep: the later version has the same bytes."""
    found = versions.versions("taxi")
    newest = {v.tags["hour9.identity"]: v for v in found}
    today = newest[versions.judged("taxi", "taxi-qlearning").identity]
    rebuilt = [v for v in found if v not in newest.values()]
    assert freed() == [name_of(v) for v in found if v != today]
    Path("models/taxi").rename("models/kept")
    try:
        assert freed() == [name_of(v) for v in rebuilt]
    finally:
        Path("models/kept").rename("models/taxi")


def freed() -> list[str]:
    return [one.name for one in cleaning.artifacts()]


def name_of(version) -> str:
    return f"taxi/{version.version} (taxi-qlearning)"


def test_clean_says_on_a_version_what_one_that_was_killed_had_deleted(client, tmp_path):
    """Version 3 was never promoted; a clean deleted its package, and was killed."""
    tags = {"hour9.identity": "another", "hour9.candidate": "taxi-qlearning"}
    tried = client.create_model_version("taxi", str(tmp_path / "deleted"), tags=tags)
    try:
        (one,) = (one for one in cleaning.artifacts() if one.name == name_of(tried))
        assert one.size == 0
        one.remove()
        assert versions.CLEANED in client.get_model_version("taxi", tried.version).tags
        assert name_of(tried) not in freed()
    finally:
        client.delete_model_version("taxi", tried.version)


def test_clean_deletes_what_it_named_and_nothing_else(client, capsys):
    """The last test: version 1, never promoted, loses its package."""
    stale = Path(".hour9/checkpoints/taxi-qlearning/0123")
    stale.mkdir(parents=True)
    (stale / "state").write_text("old")
    unnamed = Path(".dvc/cache/files/md5/ab/" + "c" * 30)
    unnamed.parent.mkdir(parents=True, exist_ok=True)
    unnamed.write_text("nothing names it")
    outs = [dvc_md5(Path(name)) for name in ("data/taxi", "models/taxi", "reports/taxi")]
    promote("taxi", "2")
    assert main(["clean"]) == 0
    said = capsys.readouterr().out
    assert "taxi/1 (taxi-qlearning)" in said
    assert "nothing was deleted" in said
    assert unnamed.exists()

    assert main(["clean", "--yes"]) == 0
    assert not stale.exists()
    assert not unnamed.exists()
    one, two = (client.get_model_version("taxi", number) for number in "12")
    assert not Path(one.source.removeprefix("file://")).exists()
    assert one.tags["hour9.verdict"]
    assert one.tags["hour9.cleaned"]
    assert one.tags["hour9.identity"] not in versions.versions_by_identity("taxi")  # made anew
    with packages.unpack(two) as package:
        assert packages.check_bytes(two, package) == []
    assert [dvc_md5(Path(n)) for n in ("data/taxi", "models/taxi", "reports/taxi")] == outs
    capsys.readouterr()
    assert main(["clean"]) == 0
    assert "taxi/1" not in capsys.readouterr().out
