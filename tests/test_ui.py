"""Both UIs, their worker and a run triggered there, over their own HTTP interfaces."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from hour9.params import read_params
from hour9.servers import NotServed, check_free, free_port


@pytest.fixture
def served(project) -> Iterator[tuple[str, str]]:
    """The addresses of Prefect and MLflow, served as `make ui` serves them."""
    prefect, mlflow = free_port(), free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "hour9.cli", "ui"),
            *("--prefect-port", str(prefect), "--mlflow-port", str(mlflow)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout
    said = []
    for line in process.stdout:
        said.append(line)
        if line.startswith("Ctrl-C"):
            break
    else:
        raise AssertionError("".join(said))
    children = psutil.Process(process.pid).children(recursive=True)
    yield f"http://127.0.0.1:{prefect}/api", f"http://127.0.0.1:{mlflow}"
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert not psutil.wait_procs(children, timeout=60)[1], "something was left running"


def ask(url: str, body: dict | None = None) -> dict:
    """GET, or POST where there is a body; the answer's JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def test_a_run_triggered_in_the_ui_shows_its_stages_as_tasks_with_their_logs(served):
    prefect, mlflow = served
    deployment = ask(f"{prefect}/deployments/name/pipeline/pipeline")
    form = deployment["parameter_openapi_schema"]["properties"]
    assert form["task"]["enum"] == ["all", *read_params()["tasks"]]
    assert all(field["description"] for field in form.values())

    code = (
        "from prefect.deployments import run_deployment\n"
        "run = run_deployment('pipeline/pipeline', parameters={'task': 'taxi'}, poll_interval=1)\n"
        "print(run.id, run.state.name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PREFECT_API_URL": prefect, "PREFECT_HOME": str(Path.cwd() / "home")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    run_id, state = done.stdout.split()
    assert state == "Completed", Path(".hour9/prefect-worker-cpu.log").read_text()

    only = {"flow_runs": {"id": {"any_": [run_id]}}}
    tasks = {t["id"]: t["name"] for t in ask(f"{prefect}/task_runs/filter", only)}
    assert {"ingest@taxi", "train@taxi-qlearning", "register@taxi"} <= set(tasks.values())
    logs = ask(f"{prefect}/logs/filter", {"logs": {"flow_run_id": {"any_": [run_id]}}})
    of_training = [
        x["message"] for x in logs if tasks.get(x["task_run_id"]) == "train@taxi-qlearning"
    ]
    assert any("steps, regret" in message for message in of_training)

    model = ask(f"{mlflow}/api/2.0/mlflow/registered-models/get?name=taxi")["registered_model"]
    assert model["aliases"] == [{"alias": "challenger", "version": "1"}]


def test_a_port_that_is_taken_is_refused_with_the_way_out():
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(NotServed, match=f"port {port} is taken; .* UI=--prefect-port=N"):
            check_free(port, "--prefect-port")
