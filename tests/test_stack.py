"""The team's stack: the compose file is valid, and its services do the whole road, natively."""

import base64
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.compose import POSTGRES, ROOT, Stack, interpolate, settings
from tests.conftest import QUICK, copy_project, stay_in

from hour9 import dag
from hour9.config import set_params
from hour9.registry.lineage import dvc_md5
from hour9.servers import free_port
from hour9.stage import LOGS, WARM
from hour9.worker import prepare

BIN = Path(sys.prefix) / "bin"
S3 = ("S3_ENDPOINT", "S3_KEY", "S3_SECRET", "MLFLOW_ARTIFACTS", "HOUR9_REMOTE")


def compose(change: tuple[str, str] = ("", "")) -> dict:
    text = (ROOT / "docker-compose.yml").read_text()
    assert change[0] in text
    return yaml.safe_load(interpolate(text.replace(*change), settings()))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("", ""), None),
        (("    command: [prefect", "    comand: [prefect"), "comand"),
        (("- remote:/remote", "- remte:/remote"), "remte"),
        (("condition: service_started", "condition: started"), "started"),
        (("source: mlflow-auth", "source: auth"), "auth"),
    ],
)
def test_the_compose_file_follows_the_specification(change, complaint):
    from compose_spec import PyCompose

    text = json.dumps(compose(change))
    if complaint is None:
        PyCompose.from_json(text).validate()
    else:
        with pytest.raises(ValueError, match=complaint):
            PyCompose.from_json(text).validate()


def test_every_service_is_pinned_limited_and_only_this_machine_reaches_it():
    services = compose()["services"]
    for name, service in services.items():
        assert service["image"].rpartition(":")[2] not in ("", "latest"), name
        assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}, name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
    served = {name for name, service in services.items() if "ports" in service} | {"s3", "postgres"}
    assert all("healthcheck" in services[name] for name in (*served, "worker", "worker-gpu"))


def test_a_password_that_is_not_set_is_asked_for():
    text = (ROOT / "docker-compose.yml").read_text()
    wanted = [name for name in settings() if name in text]
    assert len(wanted) == 4
    for name in wanted:  # as .env.example leaves it
        with pytest.raises(AssertionError, match=f"{name}: set it in"):
            interpolate(text, {**settings(), name: ""})


def test_every_name_of_the_example_is_one_that_the_file_takes():
    lines = (ROOT / ".env.example").read_text().splitlines()
    names = {found[1] for line in lines if (found := re.match(r"(?:# )?([A-Z0-9_]+)=", line))}
    text = (ROOT / "docker-compose.yml").read_text()
    assert names == set(re.findall(r"\$\{(\w+)", text))


@pytest.mark.skipif(os.getuid() != 0, reason="gives a folder to another user: needs root")
def test_a_worker_takes_a_checkout_that_belongs_to_somebody_else(tmp_path, monkeypatch):
    theirs = tmp_path / "theirs"
    git("init", "-q", str(theirs))
    as_me = ["-c", "user.name=t", "-c", "user.email=t@t"]
    git("-C", str(theirs), *as_me, "commit", "-q", "--allow-empty", "-m", "all")
    for path in (theirs, *theirs.rglob("*")):
        os.chown(path, 1234, 1234)
    (tmp_path / "ours").mkdir()
    monkeypatch.chdir(tmp_path / "ours")
    prepare(str(theirs), "HEAD", remote="")
    assert Path(".git").exists()


def test_a_worker_that_a_shell_put_into_the_background_can_be_interrupted(tmp_path):
    """By itself too: Prefect's worker does so where it is told to end."""
    git("init", "-q", str(tmp_path))
    as_me = ["-c", "user.name=t", "-c", "user.email=t@t"]
    git("-C", str(tmp_path), *as_me, "commit", "-q", "--allow-empty", "-m", "all")
    prefect = tmp_path / "bin/prefect"
    prefect.parent.mkdir()
    prefect.write_text("#!/bin/sh\nkill -INT $$\necho goes on\n")
    prefect.chmod(0o755)
    become = (
        "import pathlib, signal; from hour9 import worker\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        f"worker.BIN = pathlib.Path({str(prefect.parent)!r})\n"
        "worker.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", become, "cpu"],
        env={
            "PATH": os.environ["PATH"],
            "HOUR9_REPOSITORY": str(tmp_path),
            "HOUR9_WORKSPACE": str(tmp_path / "workspace"),
        },
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.returncode) == ("", -signal.SIGINT), done.stderr


def test_a_worker_keeps_what_runs_made_until_there_is_a_new_commit(tmp_path, monkeypatch):
    source, params = tmp_path / "source", Path("params.yaml")
    git("init", "-q", str(source))

    def commit(text: str) -> None:
        (source / params).write_text(text)
        git("-C", str(source), "add", ".")
        as_me = ["-c", "user.name=t", "-c", "user.email=t@t"]
        git("-C", str(source), *as_me, "commit", "-qm", text)

    (tmp_path / "workspace").mkdir()
    monkeypatch.chdir(tmp_path / "workspace")
    commit("as committed")
    prepare(str(source), "HEAD", remote="")
    assert params.read_text() == "as committed"
    params.write_text("as a run set it")
    prepare(str(source), "HEAD", remote="")
    assert params.read_text() == "as a run set it"
    commit("as committed since")
    prepare(str(source), "HEAD", remote="")
    assert params.read_text() == "as committed since"


def test_workers_that_start_at_once_share_one_folder(tmp_path, monkeypatch):
    """Eight, where a stack has two: without a lock their `git init` fails nearly always."""
    source = tmp_path / "source"
    git("init", "-q", str(source))
    as_me = ["-c", "user.name=t", "-c", "user.email=t@t"]
    git("-C", str(source), *as_me, "commit", "-q", "--allow-empty", "-m", "all")
    (tmp_path / "workspace").mkdir()
    monkeypatch.chdir(tmp_path / "workspace")
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=prepare, args=(str(source), "HEAD", "")) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 8


def test_the_image_file_is_clean():
    done = subprocess.run([BIN / "hadolint", ROOT / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert (ROOT / "Dockerfile").read_text().rstrip().endswith("USER 1000")


@pytest.fixture(scope="module")
def stack(tmp_path_factory, warm) -> Iterator[Stack]:
    """All services, with both profiles on. There may be no GPU: its worker is a process as well."""
    folder = tmp_path_factory.mktemp("stack")
    source = copy_project(folder / "source")
    with pytest.MonkeyPatch.context() as patch:
        stay_in(source, patch)
        set_params(QUICK)
        shutil.copy(ROOT / ".gitignore", ".gitignore")
        # Outs that the remote does not have. Of one task: DVC asks S3 for each of them.
        stages = yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"]
        kept = {name: entry for name, entry in stages.items() if "taxi" in name}
        Path("dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": kept}))
        git("init", "-q")
        git("add", ".")
        git("-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "all")
    moved = {
        "/etc/mlflow-auth.ini": folder / "mlflow-auth.ini",
        "/home/hour9/.prefect": folder / "prefect",
        "/source": source,
        "/workspace": folder / "workspace",
        "/data": folder / "s3",
    }
    stack = Stack(folder, settings(*S3, "HOUR9_MLFLOW_URL", "HOUR9_POOL"), moved)
    (folder / "s3").mkdir()
    auth = stack.here(stack.file["configs"]["mlflow-auth"]["content"])
    (folder / "mlflow-auth.ini").write_text(auth)
    with stack.postgres():
        try:
            stack.start("s3", "weed")
            stack.start("mlflow")
            stack.start("prefect")
            stack.wait("prefect", "4200", "/api/health")
            setup = {**stack.environment("setup"), "PREFECT_HOME": str(folder / "home")}
            done = subprocess.run(
                stack.command("setup"), cwd=source, env=setup, capture_output=True, text=True
            )
            assert done.stdout.startswith("ready"), done.stdout + done.stderr
            stack.wait("mlflow", "5000", "/health")
            quick = {WARM: warm, LOGS: str(dag.LOGS)}  # imports are paid for once
            quick["PREFECT_HOME"] = str(folder / "worker")
            stack.start("worker", **quick)
            own = {"PREFECT_WORKER_WEBSERVER_PORT": str(free_port())}  # a container has its own
            stack.start("worker-gpu", **quick, **own)
            yield stack
        finally:
            stack.stop()


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True)


def status(
    url: str, user: str = "", password: str = "", origin: str = "", body: dict | None = None
) -> int:
    """Of a GET or, with a body, of the POST that a page of that origin would send."""
    sent = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, sent)
    if body is not None:
        request.add_header("Content-Type", "application/json")
        request.add_header("Origin", origin)
    if user:
        word = base64.b64encode(f"{user}:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {word}")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.skipif(not POSTGRES, reason="needs PostgreSQL: apt-get install postgresql")
def test_the_whole_road_on_the_services_of_the_compose_file(stack, tmp_path, monkeypatch):
    values = settings(*S3)
    mlflow = (
        f"http://127.0.0.1:{stack.ports['5000']}/api/2.0/mlflow/experiments/get?experiment_id=0"
    )
    assert status(mlflow) == 401
    assert status(mlflow, "admin", values["MLFLOW_PASSWORD"]) == 200
    search = mlflow.replace("experiments/get?experiment_id=0", "runs/search")
    asked = {"experiment_ids": ["0"]}
    for origin, expected in (("https://mlflow.example.org", 200), ("http://evil.example", 403)):
        found = status(search, "admin", values["MLFLOW_PASSWORD"], origin=origin, body=asked)
        assert found == expected, origin
    prefect = f"http://127.0.0.1:{stack.ports['4200']}/api/admin/settings"
    assert status(prefect) == 401
    assert status(prefect, "team", values["PREFECT_PASSWORD"]) == 200

    worker = {**stack.environment("worker"), "PREFECT_HOME": str(tmp_path / "home")}

    def run(deployment: str, where: str) -> None:
        words = ["deployment", "run", deployment, "--param", "task=taxi", "--watch"]
        with subprocess.Popen(
            [BIN / "prefect", *words], env=worker, stdout=subprocess.PIPE, text=True
        ) as asked:
            try:
                said, _ = asked.communicate(timeout=600)
            except subprocess.TimeoutExpired:
                asked.kill()
                said, _ = asked.communicate()
        assert asked.returncode == 0, said[-3000:] + stack.log(where)

    run("pipeline/pipeline", "worker-gpu")
    assert "taxi-qlearning" in stack.log("worker-gpu")  # it trained there, and is judged here:
    run("promote/promote", "worker")
    made = stack.folder / "workspace"
    assert (made / "reports/index.html").exists()

    code = (
        "import mlflow, pandas\n"
        "model = mlflow.pyfunc.load_model('models:/taxi@champion')\n"
        "print(model.predict(pandas.DataFrame({'state': [1]}))['action'].iloc[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], env=worker, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert any((stack.folder / "s3").rglob("*.dat")), "nothing was stored by the S3 server"

    # A colleague with the commit and the remote alone has the same bytes.
    clone = tmp_path / "clone"
    git("clone", "-q", str(stack.folder / "source"), str(clone))
    shutil.copy(made / "dvc.lock", clone)
    for command in (
        ["remote", "add", "-d", "team", values["HOUR9_REMOTE"]],
        ["pull", "train@taxi-qlearning"],
    ):
        subprocess.run(
            [BIN / "dvc", *command], cwd=clone, env=worker, check=True, capture_output=True
        )
    model = Path("models/taxi/taxi-qlearning")
    assert dvc_md5(clone / model) == dvc_md5(made / model)
