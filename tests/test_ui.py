"""Both UIs as `make ui` serves them: what a person does in a browser, and what happens to runs
whose process dies. One set of servers for all; the tests build on one another, in this order.
"""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import psutil
import pytest
from tests.browser import approve, browser, choose, needs_browser, send, set_alias
from tests.conftest import QUICK, TREE, copy_project, prepare_prefect, stay_in

from hour9 import dag
from hour9.config import set_params
from hour9.pages import ADDRESS
from hour9.servers import NotServed, PrefectServer, check_free, free_port
from hour9.stage import LOGS, WARM
from hour9.ui import has_worker, serve, stop_when_told

PATIENCE = 180  # seconds: a dead run is missed after 90
MONITOR = "monitor/monitor"
TRAIN, EVALUATE = "train@taxi-qlearning", "evaluate@taxi-qlearning"


@pytest.fixture(scope="module")
def ui(tmp_path_factory, warm) -> Iterator[SimpleNamespace]:
    """The addresses of a project that `hour9 ui` serves, with version 1 of taxi in its registry."""
    folder = copy_project(tmp_path_factory.mktemp("ui") / "project")
    prepare_prefect(folder)
    with pytest.MonkeyPatch.context() as patch:
        stay_in(folder, patch)
        patch.setenv(WARM, warm)  # the imports are paid for once
        patch.setenv(LOGS, str(dag.LOGS))
        set_params(QUICK)
        git("init", "-q")
        git("add", *TREE)
        git("-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "all")
        ports = {name: free_port() for name in ("prefect", "mlflow", "report")}
        options = [word for name, port in ports.items() for word in (f"--{name}-port", str(port))]
        process = subprocess.Popen(
            [sys.executable, "-m", "hour9.cli", "ui", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for stage in dag.select(dag.stages(), task="taxi"):  # while the servers start
            dag.reproduce(stage.name)
        assert process.stdout
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("Ctrl-C"):
                break
        else:
            raise AssertionError("".join(said))
        children = psutil.Process(process.pid).children(recursive=True)
        urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        yield SimpleNamespace(**urls, api=f"{urls['prefect']}/api", folder=folder, pid=process.pid)
        process.send_signal(signal.SIGINT)
        process.communicate()
        assert not psutil.wait_procs(children, timeout=60)[1], "something was left running"


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True)


def ask(url: str, body: Any = None, method: str | None = None) -> Any:
    """GET, or POST where there is a body and no other method; the answer's JSON."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers, method=method)
    for _ in range(10):
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read() or "null")
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.SERVICE_UNAVAILABLE:  # SQLite is busy: come again
                raise
            time.sleep(1)
    raise AssertionError(f"{url} stayed busy")


def until(found: Callable[[], Any]) -> Any:
    """What the function finds, as soon as it finds something."""
    deadline = time.monotonic() + PATIENCE
    while not (value := found()):
        log = Path(".hour9/prefect-worker-cpu.log")
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.3)
    return value


def state(ui: SimpleNamespace, run: str, *wanted: str) -> dict:
    """The run's state, as soon as it is one of these."""

    def reached() -> dict | None:
        now = ask(f"{ui.api}/flow_runs/{run}")["state"]
        return now if now["name"] in wanted else None

    return until(reached)


def form(ui: SimpleNamespace, page: Any, name: str) -> None:
    """Open the form of a deployment."""
    deployment = ask(f"{ui.api}/deployments/name/{name}")
    page.goto(f"{ui.prefect}/deployments/deployment/{deployment['id']}/run")
    page.get_by_role("button", name="Submit").wait_for()


def submit(page: Any) -> str:
    """Send the form and leave; the run that came of it."""
    answer = send(page, page.get_by_role("button", name="Submit"), "/create_flow_run")
    assert answer.status == 201, answer.text()
    run = answer.json()["id"]
    leave(page)
    return run


def leave(page: Any) -> None:
    """While a test waits: Prefect's pages ask, draw and move all the time."""
    page.goto("about:blank")


def runs(ui: SimpleNamespace, flow: str) -> list[dict]:
    return ask(f"{ui.api}/flow_runs/filter", {"flows": {"name": {"any_": [flow]}}})


def aliases(ui: SimpleNamespace) -> dict[str, int]:
    answer = ask(f"{ui.mlflow}/api/2.0/mlflow/registered-models/get?name=taxi")
    found = answer["registered_model"]["aliases"]
    return {alias["alias"]: int(alias["version"]) for alias in found}


def test_every_pool_has_a_worker_and_the_gpu_a_limit(ui):
    for pool in ("cpu", "gpu"):
        workers = until(lambda pool=pool: ask(f"{ui.api}/work_pools/{pool}/workers/filter", {}))
        assert workers[0]["status"] == "ONLINE"
    limits = ask(f"{ui.api}/v2/concurrency_limits/filter", {})
    assert {limit["name"]: limit["limit"] for limit in limits}["gpu"] == 1


def test_a_pool_that_a_person_paused_is_served_and_one_without_workers_is_not(ui):
    def served() -> bool:
        with urllib.request.urlopen(f"{ui.api}/work_pools/own") as answer:
            return has_worker(answer.read())

    ask(f"{ui.api}/work_pools/", {"name": "own", "type": "process"})
    assert not served()
    ask(f"{ui.api}/work_pools/own", {"is_paused": True}, "PATCH")
    assert served()
    ask(f"{ui.api}/work_pools/own", method="DELETE")


def test_a_second_ui_in_the_same_clone_is_refused_and_says_where_the_first_is(ui):
    taken = int(ui.mlflow.rpartition(":")[2])
    with pytest.raises(NotServed, match=f"already running at {ui.prefect}; stop it first"):
        serve(free_port(), taken, free_port())


def test_another_page_in_the_persons_browser_may_not_ask(ui):
    preflight = {"Access-Control-Request-Method": "POST"}
    for origin, allowed in (("http://evil.example", None), (ui.prefect, ui.prefect)):
        headers = {"Origin": origin, **preflight}
        request = urllib.request.Request(
            f"{ui.api}/deployments/", headers=headers, method="OPTIONS"
        )
        with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(request) as answer:
            assert answer.headers["Access-Control-Allow-Origin"] == allowed
            continue
        assert allowed is None


def test_setting_up_again_keeps_what_a_person_changed(ui):
    guard = ask(f"{ui.api}/deployments/name/guard/guard")
    own = {"schedule": {"cron": "0 4 * * *", "timezone": "UTC"}, "active": True}
    changed = {"schedules": [own], "concurrency_limit": 3}
    ask(f"{ui.api}/deployments/{guard['id']}", changed, "PATCH")
    (reaping,) = filter(reaps, ask(f"{ui.api}/automations/filter", {}))
    ask(f"{ui.api}/automations/{reaping['id']}", {"enabled": False}, "PATCH")
    again = [sys.executable, "-m", "hour9.operate"]
    home = {"PREFECT_API_URL": ui.api, "PREFECT_HOME": str(ui.folder / "home")}
    subprocess.run(again, env={**os.environ, **home}, check=True)
    guard = ask(f"{ui.api}/deployments/name/guard/guard")
    (schedule,) = guard["schedules"]
    assert (schedule["schedule"]["cron"], schedule["active"]) == ("0 4 * * *", True)
    assert guard["global_concurrency_limit"]["limit"] == 3
    assert ask(f"{ui.api}/deployments/name/pipeline/rl")["parameters"] == {"topic": "rl"}
    (reaping,) = filter(reaps, ask(f"{ui.api}/automations/filter", {}))
    assert not reaping["enabled"]
    ask(f"{ui.api}/automations/{reaping['id']}", {"enabled": True}, "PATCH")
    ask(f"{ui.api}/deployments/{guard['id']}", {"schedules": []}, "PATCH")
    in_a_minute = datetime.now(UTC) + timedelta(minutes=1)
    later = {"expected_start_time": {"after_": in_a_minute.isoformat()}}
    asked = {"flow_runs": later, "flows": {"name": {"any_": ["reap"]}}}
    assert len(ask(f"{ui.api}/flow_runs/filter", asked)) == 1, "of the second set-up alone"


def test_a_run_beside_the_ui_links_to_what_it_serves_unless_told_otherwise(ui):
    with mock.patch.dict(os.environ, {"HOUR9_MLFLOW_URL": "http://mine"}):
        os.environ.pop(ADDRESS, None)
        assert PrefectServer.find().api == ui.api
        assert os.environ[ADDRESS] == ui.report
        assert os.environ["HOUR9_MLFLOW_URL"] == "http://mine"


def test_killed_trainings_are_closed_when_the_ui_starts_and_when_a_run_crashed_or_was_cancelled(ui):
    """A busy server may drop the event of one run, so of that only the trigger is looked at."""
    (trigger,) = (a["trigger"] for a in ask(f"{ui.api}/automations/filter", {}) if reaps(a))
    ends = ("Failed", "Crashed", "Cancelled")
    assert set(trigger["expect"]) == {f"prefect.flow-run.{end}" for end in ends}
    run = min(runs(ui, "reap"), key=lambda run: run["expected_start_time"])
    assert run["expected_start_time"] <= run["created"]
    assert state(ui, run["id"], "Completed", "Failed", "Crashed")["name"] == "Completed"


def reaps(automation: dict) -> bool:
    return automation["name"].startswith("reap")


@pytest.fixture(scope="module")
def no_reaping(ui) -> None:
    """From here on no event and no set-up closes a killed training: whoever sees it die does."""
    for automation in filter(reaps, ask(f"{ui.api}/automations/filter", {})):
        ask(f"{ui.api}/automations/{automation['id']}", {"enabled": False}, "PATCH")
    for run in runs(ui, "reap"):
        if run["state_type"] == "SCHEDULED":
            ask(f"{ui.api}/flow_runs/{run['id']}", method="DELETE")


@needs_browser
def test_a_promotion_waits_for_a_person_who_says_yes_in_the_browser(ui):
    with browser() as page:
        form(ui, page, "promote/promote")
        choose(page, 0, "taxi")
        choose(page, 1, "required")
        run = submit(page)
        assert state(ui, run, "Suspended", "Failed")["name"] == "Suspended"
        assert "champion" not in aliases(ui)
        page.goto(f"{ui.prefect}/runs/flow-run/{run}")
        page.get_by_text("promote taxi").first.wait_for()
        page.get_by_text("Artifacts", exact=True).last.click()
        page.get_by_role("link", name="promote-taxi").first.click()
        page.get_by_text("there is no champion yet").wait_for()
        page.goto(f"{ui.prefect}/runs/flow-run/{run}")
        approve(page, "anna")
        leave(page)
        done = state(ui, run, "Completed", "Failed")
    assert done["name"] == "Completed", done["message"]
    assert aliases(ui)["champion"] == 1


@needs_browser
def test_a_run_from_the_form_that_failed_is_retried_and_repeats_only_what_is_stale(ui, no_reaping):
    with browser() as page, (ui.folder / f".hour9/locks/{EVALUATE}.lock").open("a") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)  # somebody is at this stage, so the run will fail there
        form(ui, page, "pipeline/pipeline")
        choose(page, 1, "taxi")
        page.get_by_role("button", name="Add item").click()
        page.locator("textarea").nth(1).wait_for()  # the item's stands before the pool's
        page.locator("textarea").first.fill("candidates.taxi-qlearning.seed=1")
        run = submit(page)
        failed = state(ui, run, "Failed", "Completed", "Crashed")
        assert f"{EVALUATE} failed" in failed["message"]
        assert "already running as process" in failed["message"]
        assert ask(f"{ui.api}/flow_runs/{run}")["name"] == "taxi seed=1"

        fcntl.flock(busy, fcntl.LOCK_UN)
        page.goto(f"{ui.prefect}/runs/flow-run/{run}")
        page.get_by_role("button", name="Retry").first.click()
        send(page, page.locator(".p-modal").get_by_role("button", name="Retry"), "/set_state")
        leave(page)
        done = state(ui, run, "Completed", "Crashed")
        assert done["name"] == "Completed"
        said = {TRAIN: [], EVALUATE: []}
        only = {"flow_runs": {"id": {"any_": [run]}}}
        tasks = {task["id"]: task["name"] for task in ask(f"{ui.api}/task_runs/filter", only)}
        for log in ask(f"{ui.api}/logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}}):
            said.setdefault(tasks.get(log["task_run_id"]), []).append(log["message"])
        assert sum("done in" in line for line in said[TRAIN]) == 1
        assert "unchanged" in said[TRAIN]
        assert sum("done in" in line for line in said[EVALUATE]) == 1

        follow_links(ui, page, run)


def follow_links(ui: SimpleNamespace, page: Any, run: str) -> None:
    """From the run's artifacts to its pictures, the report, the Data Docs and MLflow."""
    found = ask(f"{ui.api}/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run]}}})
    artifacts = {item["key"]: item for item in found}
    (row,) = json.loads(artifacts["candidates"]["data"])
    assert (row["candidate"], row["version"]) == ("taxi-qlearning", "2")
    page.goto(f"{ui.prefect}/artifacts/artifact/{artifacts['taxi-qlearning']['id']}")
    page.get_by_role("cell", name="overfitting").wait_for()
    for link, expected in (
        ("its run in MLflow", "hour9.candidate"),
        ("the report", "taxi-qlearning"),
    ):
        with page.expect_popup() as opened:
            page.get_by_role("link", name=link).click()
        opened.value.get_by_text(expected).first.wait_for()
    picture = next(item["data"] for item in found if item["type"] == "image")
    assert picture.startswith(ui.report)
    with urllib.request.urlopen(picture) as answer:
        assert answer.headers["Content-Type"].startswith("image/")
    _, _, docs = artifacts["data-docs-taxi"]["data"].rstrip(")").partition("](")
    with urllib.request.urlopen(docs) as answer:
        assert b"taxi-cases" in answer.read()


@needs_browser
def test_an_alias_that_was_set_by_hand_in_mlflow_is_put_back_by_the_guard(ui):
    with browser() as page:  # version 2 was trained from settings that no commit holds
        set_alias(page, ui.mlflow, "taxi", 2, "champion")
        assert aliases(ui)["champion"] == 2
        form(ui, page, "guard/guard")
        run = submit(page)
        assert state(ui, run, "Completed", "Failed")["name"] == "Completed"
        assert aliases(ui)["champion"] == 1
        page.goto(f"{ui.mlflow}/#/models/taxi/versions/2")
        page.get_by_text("set on this version by hand and put back").first.wait_for()


def test_requests_unlike_the_training_data_start_the_topics_deployment(ui, no_reaping):
    rl, watch = (ask(f"{ui.api}/deployments/name/{name}") for name in ("pipeline/rl", MONITOR))
    requests = ui.folder / "requests.jsonl"
    requests.write_text('{"state": 1}\n' * 100)
    asked = {"parameters": {"task": "taxi", "file": str(requests), "retrain": "auto"}}
    before = {run["id"] for run in runs(ui, "pipeline")}
    run = ask(f"{ui.api}/deployments/{watch['id']}/create_flow_run", asked)["id"]
    assert state(ui, run, "Completed", "Failed")["name"] == "Completed"
    (started,) = (run for run in runs(ui, "pipeline") if run["id"] not in before)
    state(ui, started["id"], "Running")  # cancelled while it starts, it would stay in Cancelling
    cancel(ui, started["id"])
    assert started["deployment_id"] == rl["id"]
    assert started["parameters"]["topic"] == "rl"
    state(ui, started["id"], "Cancelled")


def test_a_run_killed_in_training_becomes_crashed_and_its_mlflow_run_killed(ui, no_reaping):
    run, tracked = in_training(ui)
    flow_process(ui, run).kill()
    assert state(ui, run, "Crashed", "Failed")["name"] == "Crashed"
    until(lambda: mlflow_status(ui, tracked) == "KILLED")


def test_a_cancelled_run_leaves_no_process_and_its_stage_stale_for_the_next_run(ui, no_reaping):
    run, tracked = in_training(ui)
    process = flow_process(ui, run)
    started = [process, *process.children(recursive=True)]
    cancel(ui, run)
    assert state(ui, run, "Cancelled", "Crashed", "Failed")["name"] == "Cancelled"
    assert not psutil.wait_procs(started, timeout=60)[1]
    until(lambda: mlflow_status(ui, tracked) == "KILLED")
    assert TRAIN in dag.stale()


def cancel(ui: SimpleNamespace, run: str) -> None:
    """What the UI's Cancel sends."""
    asked = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
    ask(f"{ui.api}/flow_runs/{run}/set_state", asked)


def in_training(ui: SimpleNamespace) -> tuple[str, str]:
    """A run whose training goes on for long, and the MLflow run of that training."""
    deployment = ask(f"{ui.api}/deployments/name/pipeline/rl")["id"]
    steps = "candidates.taxi-qlearning.steps=90000000"
    asked = {"parameters": {"task": "taxi", "settings": [steps]}}
    run = ask(f"{ui.api}/deployments/{deployment}/create_flow_run", asked)["id"]

    def training() -> str | None:
        wanted = {"experiment_ids": ["1"], "filter": "attributes.status = 'RUNNING'"}
        found = ask(f"{ui.mlflow}/api/2.0/mlflow/runs/search", wanted).get("runs", [])
        return found[0]["info"]["run_id"] if found else None

    return run, until(training)


def mlflow_status(ui: SimpleNamespace, run: str) -> str:
    return ask(f"{ui.mlflow}/api/2.0/mlflow/runs/get?run_id={run}")["run"]["info"]["status"]


def flow_process(ui: SimpleNamespace, run: str) -> psutil.Process:
    """The process that a worker started for the run: the topmost that knows of it."""
    for child in psutil.Process(ui.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if child.environ().get("PREFECT__FLOW_RUN_ID") == run:
                return child
    raise AssertionError(f"no process runs {run}")


def test_a_worker_that_dies_is_started_anew_and_what_it_ran_ends_with_it(ui):
    run, _ = in_training(ui)
    process = flow_process(ui, run)
    started = [process, *process.children(recursive=True)]
    known = ask(f"{ui.api}/work_pools/cpu/workers/filter", {})
    process.parent().kill()
    assert not psutil.wait_procs(started, timeout=60)[1]
    until(lambda: len(ask(f"{ui.api}/work_pools/cpu/workers/filter", {})) > len(known))
    crashed = {"state": {"type": "CRASHED"}, "force": True}  # as the missing heartbeat does later
    ask(f"{ui.api}/flow_runs/{run}/set_state", crashed)


def test_two_runs_take_turns_on_the_gpu(ui, monkeypatch):
    """Asked in a process of its own: Prefect's settings are read once."""
    code = (
        "import threading, time\n"
        "from flows.pipeline import gpu_for\n"
        "from hour9 import run\n"
        "run.has_gpu = lambda: True\n"
        "inside, most = [], []\n"
        "def train(name):\n"
        "    with gpu_for('train@' + name):\n"
        "        inside.append(name); most.append(len(inside))\n"
        "        time.sleep(0.5); inside.remove(name)\n"
        "threads = [threading.Thread(target=train, args=(n,)) for n in 'ab']\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        "print(most)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PREFECT_API_URL": ui.api, "PREFECT_HOME": str(ui.folder / "home")},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "[1, 1]\n", done.stderr


def test_a_port_that_is_taken_is_refused_with_the_way_out():
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(NotServed, match=f"port {port} is taken; .* UI=--prefect-port=N"):
            check_free(port, "make ui UI=--prefect-port=")


@pytest.fixture
def own_signals() -> Iterator[None]:
    """The test may change what signals do here."""
    told = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {one: signal.signal(one, signal.SIG_DFL) for one in told}
    yield
    for one, handler in before.items():
        signal.signal(one, handler)


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_a_kill_and_a_terminal_that_closes_stop_the_ui_in_order(own_signals, told):
    stop_when_told()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(told)


def test_under_nohup_the_ui_outlives_its_terminal(own_signals):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stop_when_told()
    signal.raise_signal(signal.SIGHUP)
