"""Stages on other machines: a worker needs the git commit and DVC's remote, and nothing else.

The run that sends a stage says which commit and what dvc.lock holds of the stages before it:
names and hashes. A worker checks the commit out in a clone of its own, fetches those outs, runs
the stage as DVC would, and pushes its outs and its run-cache; the sender then restores the stage
from the run-cache. So dvc.lock is written in one place only, with the entries that a run here
would have written. Sources and the registry stay with the sender: see docs/machines.md.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import json
import math
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hour9 import dag, lockfile
from hour9.params import STATE
from hour9.registry.lineage import dvc_md5, git, git_state
from hour9.run import note, warmed
from hour9.servers import PrefectServer
from hour9.stage import die_with_parent

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

TRAVEL = ("train", "evaluate")
"""The kinds of stages that cost enough to be worth a journey."""

POLL_SECONDS = 2.0
MISSED_BEATS = 3
"""A worker that is silent for so many of its own intervals is gone."""
TAKEOVERS = 3
PATIENCE = 60  # seconds until the sender says that nobody takes the stage

WORKER = "HOUR9_WORKER"  # the name of the worker that a flow run belongs to
PACKAGES = "HOUR9_PACKAGES"  # hash of the lock file that its .venv was made from
CLONE = STATE / "worker"
STEPS = "prefect.deployments.steps"


class NotSent(RuntimeError):  # noqa: N818 - reads as a sentence where it is raised
    """Other machines could not see what is to be run."""


class NotTaken(RuntimeError):  # noqa: N818 - reads as a sentence where it is raised
    """This worker cannot run that commit."""


# The side that sends


def commit_to_send(settings: Sequence[str] = ()) -> str:
    """The commit that workers are to check out. Raises NotSent where they could not see it."""
    if settings:
        raise NotSent(
            "--set changes params.yaml, and workers see commits alone: "
            "set it, commit, push, then run with --pool"
        )
    state = git_state()
    commit = state["git_commit"]
    if commit == "unknown":
        raise NotSent("this folder is no git checkout, and workers start from a commit")
    if state["git_dirty"] == "true":
        raise NotSent(
            "the tree differs from its commit, which is all that workers see: "
            "commit and push first (git status)"
        )
    if git("remote") and not git("branch", "--remotes", "--contains", commit):
        raise NotSent(f"no git remote has commit {commit[:12]}, so no worker finds it: git push")
    return commit


def check_served(pool: str) -> None:
    """Raise NotSent, before anything runs, where no worker has ever served the pool."""
    from httpx import HTTPStatusError, TransportError
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        DeploymentFilter,
        DeploymentFilterName,
        FlowFilter,
        FlowFilterName,
    )

    with get_client(sync_client=True) as client:
        try:
            found = client.read_deployments(
                flow_filter=FlowFilter(name=FlowFilterName(any_=["stage"])),
                deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[pool])),
            )
        except TransportError as error:
            raise NotSent(f"Prefect does not answer at {client.api_url}: {error}") from None
        except HTTPStatusError as error:
            raise NotSent(
                f"Prefect at {client.api_url} answers {error.response.status_code}; where it asks "
                "for a password: export PREFECT_API_AUTH_STRING=team:PASSWORD"
            ) from None
    if not found:
        raise NotSent(nobody_serves(pool))


def nobody_serves(pool: str) -> str:
    """What is missing, and what to do."""
    return f"Prefect has no deployment stage/{pool}: start a worker (hour9 worker --pool {pool})"


def reproduce(
    stage: dag.Stage,
    commit: str,
    pool: str,
    say: Callable[[str], None],
    stopped: Callable[[], bool] = lambda: False,
) -> bool:
    """As `dag.reproduce`, but what would have to run here runs on a worker of the pool."""
    there = dag.would_run(stage.name)
    if there:
        started = time.time()
        send(stage, commit, pool, say, stopped)
        note(stage.kind, started)  # its own timeline is the worker's
        if dag.would_run(stage.name):
            raise dag.StageFailed(
                f"a worker ended {stage.name}, but DVC's remote here has no such run: "
                "do sender and workers use one remote? (dvc remote list)"
            )
    return dag.reproduce(stage.name, say, pull=True) or there


def send(
    stage: dag.Stage,
    commit: str,
    pool: str,
    say: Callable[[str], None],
    stopped: Callable[[], bool] = lambda: False,
    trial: dict[str, Any] | None = None,
) -> None:
    """Have the stage run by a worker, by another one where the first dies; return when it has.

    With `trial`, it is one training of a sweep, which leaves nothing but its MLflow run. The same
    commit, stage and inputs are the same run: a sender that was killed and comes back
    finds the run that it had sent.
    """
    from prefect.client.orchestration import get_client

    began = datetime.now(UTC)
    inputs = lockfile.entries(stage.needs)
    dag.push(stage.needs)
    asked = {"name": stage.name, "commit": commit, "inputs": inputs, "trial": trial}
    key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    left = TAKEOVERS
    with get_client(sync_client=True) as client:
        for attempt in itertools.count():
            run = submit(pool, stage.name, f"{key}:{attempt}", asked)
            if ended_before(run, began):
                continue  # what failed in an earlier run is tried anew
            say(f"sent to pool {pool} as run {run.name}")
            run = wait(client, run, say, stopped)
            assert run.state
            if run.state.is_completed():
                return
            if not run.state.is_crashed() or not left:
                raise dag.StageFailed(said(run))
            left -= 1
            say("its worker died; another one takes it over")


def submit(pool: str, name: str, key: str, parameters: dict[str, Any]) -> FlowRun:
    """The run of this key, made where it is new. Raises NotSent where nobody serves the pool."""
    from prefect.deployments import run_deployment
    from prefect.exceptions import ObjectNotFound

    try:
        run: Any = run_deployment(
            f"stage/{pool}",
            parameters=parameters,
            flow_run_name=name,
            idempotency_key=key,
            timeout=0,
        )
        return run
    except ObjectNotFound:
        raise NotSent(nobody_serves(pool)) from None


def ended_before(run: FlowRun, began: datetime) -> bool:
    """Whether the run ended badly in a run of the pipeline before this one."""
    state = run.state
    return bool(state and state.is_final() and not state.is_completed() and state.timestamp < began)


def wait(
    client: SyncPrefectClient,
    run: FlowRun,
    say: Callable[[str], None],
    stopped: Callable[[], bool],
) -> FlowRun:
    """The run when it has ended, or when its worker has. A stop here cancels it there."""
    from prefect.states import Cancelling, Crashed

    watch, taken, patience = Pulse(client), "", time.monotonic() + PATIENCE
    while True:
        run = client.read_flow_run(run.id)
        if run.state and run.state.is_final():
            return run
        if stopped():
            client.set_flow_run_state(run.id, Cancelling(), force=True)
            raise dag.StageFailed(f"stopped; its run {run.name} was cancelled")
        if run.tags and not taken:
            taken = run.tags[0]
            say(f"runs on {taken}")
        if not taken and time.monotonic() > patience:
            patience = math.inf
            say(f"no worker has taken it yet; one more: hour9 worker --pool {run.work_pool_name}")
        if taken and not watch.beats(str(run.work_pool_name), taken):
            client.set_flow_run_state(run.id, Crashed(message=f"{taken} is silent"), force=True)
        time.sleep(POLL_SECONDS)


class Pulse:
    """Whether a worker still sends its heartbeats: counted by our clock, whatever the server's."""

    def __init__(self, client: SyncPrefectClient):
        self.client = client
        self.last: Any = None
        self.heard = time.monotonic()

    def beats(self, pool: str, name: str) -> bool:
        """False when the worker has been silent for too long."""
        for worker in self.client.read_workers_for_work_pool(pool):
            if worker.name != name:
                continue
            if worker.last_heartbeat_time != self.last:
                self.last, self.heard = worker.last_heartbeat_time, time.monotonic()
            interval = worker.heartbeat_interval_seconds or 30
            return time.monotonic() - self.heard < MISSED_BEATS * interval
        return False


def said(run: FlowRun) -> str:
    """What the stage said on the worker."""
    message = (run.state and run.state.message) or "no reason given"
    _, found, words = message.partition("StageFailed: ")
    return f"{words if found else message}\n(run {run.name} in Prefect has its log)"


# The side that works


def work(
    name: str,
    commit: str,
    inputs: dict[str, Any],
    trial: dict[str, Any] | None,
    say: Callable[[str], None],
) -> None:
    """Run one stage here. The commit's own code does it, in a process of its own."""
    die_with_parent()  # with the worker's process: whoever sent the stage sees that it is gone
    with at(commit):
        running = subprocess.Popen(
            [sys.executable, "-m", "hour9.remote", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=die_with_parent,
        )
        assert running.stdin
        assert running.stdout
        running.stdin.write(json.dumps([inputs, trial]))
        running.stdin.close()
        lines = []
        for line in running.stdout:
            lines.append(line.rstrip())
            say(lines[-1])
        if running.wait():
            raise dag.StageFailed("\n".join(lines[-12:]) or f"exit status {running.returncode}")


def work_here(name: str) -> None:
    """What that process does: fetch, run, push. Inputs and trial come as JSON on standard input."""
    inputs, trial = json.load(sys.stdin)
    dag.adopt(inputs)
    if trial:
        from hour9.sweep import run_here

        if failed := run_here(name.partition("@")[2], trial):
            raise dag.StageFailed(failed)
        return
    dag.reproduce(name, say=lambda line: print(line, flush=True), pull=True)
    dag.push([name], runs=True)


@contextmanager
def at(commit: str) -> Iterator[None]:
    """The clone at this commit for as long as the block lasts; stages of one commit share it."""
    STATE.mkdir(exist_ok=True)
    with (STATE / "commit.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        while (git("rev-parse", "HEAD") or "").strip() != commit:
            fcntl.flock(file, fcntl.LOCK_EX)
            check_out(commit)
            fcntl.flock(file, fcntl.LOCK_SH)  # another may come between; so we look again
        if dvc_md5(Path("requirements.lock")) != os.environ[PACKAGES]:
            raise NotTaken(
                f"commit {commit[:12]} wants other packages than this worker has: "
                "in its checkout, git pull && make install, and start it again"
            )
        yield


def check_out(commit: str) -> None:
    """Put the clone at the commit, fetched if need be. The clone is a worker's: nothing is kept."""
    if git("cat-file", "-e", f"{commit}^{{commit}}") is None:
        git("fetch", "--quiet", "--all")
    if git("checkout", "--quiet", "--force", "--detach", commit) is None:
        url = (git("remote", "get-url", "origin") or "nowhere").strip()
        raise NotTaken(f"no commit {commit[:12]} in {url}: push it there, then run again")


def serve(pool: str, limit: int) -> int:
    """Take stages from the pool until stopped, in a clone beside this checkout's own files."""
    PrefectServer.shared()
    clone = prepare_clone()
    name = f"{socket.gethostname()}-{os.getpid()}"
    os.environ |= {
        WORKER: name,
        PACKAGES: dvc_md5(Path("requirements.lock")),
        "HOUR9_ROOT": str(clone),  # for prefect.yaml
        "PYTHONPATH": str(clone / "src"),
    }
    deploy(pool)
    os.chdir(clone)
    prefect = str(Path(sys.executable).with_name("prefect"))
    with warmed():
        return subprocess.run(
            [prefect, "worker", "start", "--pool", pool, "--name", name, "--limit", str(limit)],
            preexec_fn=die_with_parent,
        ).returncode


def prepare_clone() -> Path:
    """This checkout's own clone for a worker: a person's tree is never checked out elsewhere."""
    clone = CLONE.absolute()
    if not clone.exists():
        url = (git("remote", "get-url", "origin") or str(Path.cwd())).strip()
        if git("clone", "--quiet", url, str(clone)) is None:
            raise NotTaken(f"git clone {url} failed; the worker needs a repository to fetch from")
        (clone / ".venv").symlink_to(sys.prefix)
    local = Path(".dvc/config.local")  # where the remote and its credentials may stand
    if local.exists():
        shutil.copy(local, clone / local)
    return clone


def deploy(pool: str, kind: str = "process") -> None:
    """The pool and the deployment that stages are sent to, made where they are new."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists
    from prefect.utilities.callables import parameter_schema

    sys.path.insert(0, str(Path.cwd()))
    from flows.stage import stage

    with get_client(sync_client=True) as client:
        with contextlib.suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name=pool, type=kind))
        client.create_deployment(
            flow_id=client.create_flow(stage),
            name=pool,
            work_pool_name=pool,
            entrypoint="flows/stage.py:stage",
            description=stage.description,
            parameter_openapi_schema=parameter_schema(stage).model_dump_for_openapi(),
            pull_steps=[
                # Read where the worker is, not here.
                {f"{STEPS}.set_working_directory": {"directory": "{{ $HOUR9_ROOT }}"}}
            ],
        )


if __name__ == "__main__":
    try:
        work_here(sys.argv[1])
    except Exception as error:
        if not type(error).__module__.startswith("hour9"):
            raise
        sys.exit(str(error))
