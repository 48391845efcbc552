"""The registry and its scoring server, over one small trained task, with the real MLflow."""

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from starlette.testclient import TestClient
from tests.conftest import QUICK, StageRunner, copy_project, stages_of, stay_in

from hour9.config import set_params
from hour9.registry.packages import Unusable
from hour9.registry.versions import agrees
from hour9.serve import LARGEST, NAMED, app

STORE = "mlruns/mlflow.db"


@pytest.fixture(scope="module")
def taxi(tmp_path_factory, warm) -> tuple[Path, Path]:
    """A project with the taxi task up to the registry, and a copy of it as it was then.

    One folder for all tests: MLflow keeps absolute paths, and an engine for each address.
    """
    folder = tmp_path_factory.mktemp("registry")
    project = copy_project(folder / "project")
    stage = stages_of(project, warm)
    with pytest.MonkeyPatch.context() as patch:
        stay_in(project, patch)
        set_params(QUICK)
        for kind in ("ingest", "validate"):
            stage(kind, "taxi")
        for kind in ("train", "evaluate", "judge"):
            stage(kind, "taxi-qlearning")
        stage("register", "taxi")
    return project, Path(shutil.copytree(project, folder / "saved", symlinks=True))


@pytest.fixture
def project(taxi, monkeypatch) -> Path:
    """That project as it was."""
    project, saved = taxi
    for path in {*project.iterdir(), project / "mlruns/artifacts"} - {project / "mlruns"}:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    # The store last, by SQLite: whoever has it open sees the change.
    shutil.copytree(
        saved, project, symlinks=True, dirs_exist_ok=True, ignore=lambda *_: [Path(STORE).name]
    )
    with (
        closing(sqlite3.connect(saved / STORE)) as was,
        closing(sqlite3.connect(project / STORE)) as store,
    ):
        was.backup(store)
    stay_in(project, monkeypatch)
    return project


@pytest.fixture
def registered(project, warm) -> StageRunner:
    """Run stages of it."""
    return stages_of(project, warm)


def test_the_road_ends_in_a_version_that_carries_its_lineage(registered, project, client):
    (version,) = client.search_model_versions("name = 'taxi'")
    tags = version.tags
    assert version.description.startswith("taxi-qlearning: pass; return on test ")
    assert tags["hour9.verdict"] == "pass"
    assert tags["hour9.candidate"] == "taxi-qlearning"
    assert json.loads(tags["hour9.params"])["seed"] == 0
    hashes = ("data_md5", "model_md5", "evidence_md5", "gates_md5", "code_md5", "package_md5")
    for name in (*hashes, "lock_md5", "git_commit", "git_dirty", "device", "python"):
        assert tags[f"hour9.{name}"]
    assert tags["hour9.seed"] == "0"
    assert float(tags["hour9.wall_seconds"]) > 0
    assert json.loads(tags["hour9.libraries"])["torch"]
    (seen,) = client.get_run(version.run_id).inputs.dataset_inputs
    assert seen.dataset.source_type == "dvc"
    assert json.loads(seen.dataset.source)["md5"] == tags["hour9.data_md5"]
    assert client.get_model_version_by_alias("taxi", "challenger").version == version.version

    # Registering again makes nothing new.
    registered("register", "taxi")
    assert len(client.search_model_versions("name = 'taxi'")) == 1

    # Another threshold is another verdict, hence another version; and no challenger is left.
    set_params(["tasks.taxi.thresholds.floor=100.0"])
    registered("judge", "taxi-qlearning")
    registered("register", "taxi")
    assert len(client.search_model_versions("name = 'taxi'")) == 2
    assert client.get_registered_model("taxi").aliases == {}


def test_a_version_answers_in_a_fresh_process_and_holds_no_pickle(registered, project, client):
    code = (
        "import sys, mlflow\n"
        "sys.modules['hour9'] = None  # it has to come along with the version\n"
        "mlflow.set_tracking_uri(sys.argv[1])\n"
        "model = mlflow.pyfunc.load_model('models:/taxi@challenger')\n"
        "print(len(model.predict(model.input_example)), len(model.input_example))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, f"sqlite:///{project}/mlruns/mlflow.db"],
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answered, asked = done.stdout.split()
    assert answered == asked != "0"
    suffixes = {path.suffix for path in (project / "mlruns/artifacts").rglob("*") if path.is_file()}
    assert ".safetensors" in suffixes
    assert not suffixes & {".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib"}


def test_a_lost_run_is_rebuilt_from_the_outs(registered, project, client):
    experiment = client.get_experiment_by_name("taxi").experiment_id
    (run,) = client.search_runs([experiment])
    client.delete_registered_model("taxi")
    client.delete_run(run.info.run_id)
    registered("register", "taxi")
    (rebuilt,) = client.search_runs([experiment])
    assert rebuilt.data.tags["hour9.rebuilt"] == "true"
    assert rebuilt.data.params == run.data.params
    history = [client.get_metric_history(r.info.run_id, "validation") for r in (run, rebuilt)]
    assert [p.value for p in history[0]] == [p.value for p in history[1]]


def test_a_package_that_cannot_answer_becomes_no_version(registered, project, client, monkeypatch):
    from hour9.register import register
    from hour9.registry import versions

    experiment = client.get_experiment_by_name("taxi").experiment_id
    packages = client.search_logged_models([experiment])
    client.delete_registered_model("taxi")
    monkeypatch.setattr(versions, "CODE", [name for name in versions.CODE if name != "task.py"])
    with pytest.raises(Unusable, match=r"taxi-qlearning is not .*No module named 'hour9.task'"):
        register("taxi")
    assert client.search_model_versions("name = 'taxi'") == []
    assert len(client.search_logged_models([experiment])) == len(packages)


def test_a_model_of_other_data_is_neither_registered_nor_shown(registered, project, client):
    from hour9.params import DATA, MODELS
    from hour9.registry.lineage import dvc_md5
    from hour9.report import standing

    def lock(data_md5: str) -> None:
        """What DVC writes where it ran the two stages."""
        data = {"path": "data/taxi", "hash": "md5", "md5": data_md5}
        model = MODELS / "taxi/taxi-qlearning"
        read = {"path": str(model), "hash": "md5", "md5": dvc_md5(model)}
        stages = {"train@taxi-qlearning": [data], "evaluate@taxi-qlearning": [data, read]}
        told = {name: {"cmd": "x", "deps": deps} for name, deps in stages.items()}
        with Path("dvc.lock").open("w") as file:
            YAML().dump({"schema": "2.0", "stages": told}, file)
        text = Path("dvc.lock").read_text().replace("schema: 2.0", "schema: '2.0'")
        Path("dvc.lock").write_text(text)

    lock(dvc_md5(DATA / "taxi"))
    registered("register", "taxi")
    (row,) = [row for row in standing() if row["candidate"] == "taxi-qlearning"]
    assert (row["verdict"], row["aliases"]) == ("pass", ["challenger"])

    lock("0" * 32 + ".dir")
    said = registered("register", "taxi").stdout
    assert "is left out, it learned from other data: hour9 run --candidate taxi-qlearning" in said
    assert client.get_registered_model("taxi").aliases == {}
    assert json.loads(Path("mlruns/receipts/taxi.json").read_text())["candidates"] == {}
    (row,) = [row for row in standing() if row["candidate"] == "taxi-qlearning"]
    assert (row["verdict"], row["score"], row["gates"]) == (None, None, [])


def test_what_a_task_measures_besides_stands_on_the_page(registered, project):
    from hour9.params import PAGE, REPORTS
    from hour9.report import report

    report()
    assert "Measured besides" not in PAGE.read_text()  # the taxi's task has nothing to add
    path = REPORTS / "taxi/taxi-qlearning/metrics.json"
    metrics = json.loads(path.read_text())
    path.write_text(json.dumps({**metrics, "BLEU": 34.912, "texts cut": 0.25}))
    report()
    assert "Measured besides, on test: BLEU&nbsp;34.91, texts cut&nbsp;0.25." in PAGE.read_text()


def test_the_check_says_whether_registry_and_receipt_agree(registered, project, client):
    receipt = Path("mlruns/receipts/taxi.json")
    check = [sys.executable, "-m", "hour9.registry.check", str(receipt)]
    assert agrees([receipt])
    assert subprocess.run(check).returncode == 0
    assert not agrees([receipt, receipt.with_name("nodes.json")])
    client.delete_registered_model_alias("taxi", "challenger")
    assert not agrees([receipt])
    assert subprocess.run(check).returncode == 1


@pytest.fixture
def server(registered, client) -> TestClient:
    """The taxi's challenger, served in this process."""
    return TestClient(app("taxi@challenger"), base_url="http://127.0.0.1:8000")


def test_requests_are_answered_or_refused_in_words_by_a_named_version(server):
    right = server.post("/invocations", json={"dataframe_records": [{"state": 1}]})
    assert right.status_code == 200
    assert "action" in right.json()["predictions"][0]

    wrong = {
        "no such state": server.post("/invocations", json={"dataframe_records": [{"state": -7}]}),
        "no such column": server.post("/invocations", json={"dataframe_records": [{"x": 1}]}),
        "no table": server.post("/invocations", json={"state": 1}),
        "no JSON": server.post(
            "/invocations", content=b"{", headers={"content-type": "application/json"}
        ),
        "nested": server.post(
            "/invocations",
            content=b'{"dataframe_records": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
            headers={"content-type": "application/json"},
        ),
        "no type": server.post("/invocations", content=b"{}"),
        "too large": server.post(
            "/invocations", content=b" " * (LARGEST + 1), headers={"content-type": "text/csv"}
        ),
    }
    table = {"headers": {"content-type": "text/csv"}, "content": iter([b"state\n1\n"])}
    wrong["no length"] = server.post("/invocations", **table)
    both = {**table["headers"], "content-length": "8", "transfer-encoding": "chunked"}
    wrong["two lengths"] = server.post("/invocations", content=b"state\n1\n", headers=both)
    wrong["another host"] = server.get("/ping", headers={"host": "elsewhere.org"})
    for what, answer in wrong.items():
        assert 400 <= answer.status_code < 500, what
        assert len(answer.text) > 10, what
    assert "state" in wrong["no such state"].text

    everyone = [right, *wrong.values(), server.get("/ping")]
    assert {answer.headers[NAMED] for answer in everyone} == {"taxi/1"}
