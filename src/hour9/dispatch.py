"""The side that sends: stages of a run, or trials of a sweep, go to the workers of a pool.

What travels, and why dvc.lock stays that of one machine alone: remote.py, the side that works.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from hour9 import dag, lockfile
from hour9.registry.lineage import git, git_state
from hour9.run import note

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

TRAVEL = ("train", "evaluate")
"""The kinds of stages that cost enough to be worth a journey."""

POLL_SECONDS = 2.0
MISSED_BEATS = 3
"""A worker that is silent for so many of its own intervals is gone."""
TAKEOVERS = 3
TAKEN = "hour9-worker:"
"""What the tag of a run begins with that names its worker: people give runs tags of their own."""
PATIENCE = 60  # seconds until the sender says that nobody takes the stage


class NotSent(RuntimeError):  # noqa: N818 - reads as a sentence where it is raised
    """Other machines could not see what is to be run."""


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

    inputs = lockfile.entries(stage.needs)
    dag.push(stage.needs)
    asked = {"name": stage.name, "commit": commit, "inputs": inputs, "trial": trial}
    key = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    left = TAKEOVERS
    with get_client(sync_client=True) as client:
        for attempt in itertools.count():
            run = submit(pool, stage.name, f"{key}:{attempt}", asked)
            if of_no_use(run, trial is not None):
                continue  # it had ended before it was asked for here
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


def of_no_use(run: FlowRun, trial: bool) -> bool:
    """Whether a run that is found has ended, and not as a trial: a stage that it completed would
    not be sent, if DVC's remote had what came out."""
    if run.state is None or not run.state.is_final():
        return False
    return not (trial and run.state.is_completed())


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
        if not taken and (taken := worker_of(run)):
            say(f"runs on {taken}")
        if not taken and time.monotonic() > patience:
            patience = math.inf
            say(f"no worker has taken it yet; one more: hour9 worker --pool {run.work_pool_name}")
        if taken and not watch.beats(str(run.work_pool_name), taken):
            client.set_flow_run_state(run.id, Crashed(message=f"{taken} is silent"), force=True)
        time.sleep(POLL_SECONDS)


def worker_of(run: FlowRun) -> str:
    """The worker that has taken the run; none yet."""
    return next((tag.removeprefix(TAKEN) for tag in run.tags if tag.startswith(TAKEN)), "")


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
