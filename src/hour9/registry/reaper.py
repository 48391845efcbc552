"""Closes the MLflow runs of what was killed: trainings, sweeps and their trials stay RUNNING.

Two witnesses can say that one is over: Prefect, of a flow's run that has ended, wherever it ran;
and the stage's own lock, of whatever ran in this folder, with Prefect or without. A trial is the
sweep's own until its process has it, on a worker perhaps, and goes on there without the sweep.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from typing import TYPE_CHECKING

from hour9.params import STATE
from hour9.registry.tracking import FLOW, PLACE, STAGE, connect, here

if TYPE_CHECKING:
    from mlflow.entities import Run

KILLED = "KILLED"


def reap(has_ended: Callable[[str], bool] = lambda flow_run: False) -> list[str]:
    """Close every run whose process is over; what was closed, in words.

    `has_ended` says of a flow run's id whether that run is over.
    """
    client = connect()
    closed = []
    for run in running():
        if not is_dead(run, has_ended):
            continue
        client.set_terminated(run.info.run_id, KILLED)
        closed.append(f"{run.info.run_name} ({run.info.run_id}): it was killed")
    return closed


def running() -> list[Run]:
    """What MLflow believes to be going on."""
    client = connect()
    experiments = [found.experiment_id for found in client.search_experiments()]
    found = client.search_runs(experiments, "attributes.status = 'RUNNING'")
    return [run for run in found if PLACE in run.data.tags]  # others are none of ours


def is_dead(run: Run, has_ended: Callable[[str], bool]) -> bool:
    """Whether one of the witnesses says so."""
    tags = run.data.tags
    if (flow_run := tags.get(FLOW)) and has_ended(flow_run):
        return True
    stage = tags.get(STAGE, f"train@{run.info.run_name}")  # older runs are trainings
    return tags[PLACE] == here() and was_left(stage)


def was_left(stage: str) -> bool:
    """Whether a process was at this stage and is no more: its lock died with it."""
    lock = STATE / "locks" / f"{stage}.lock"
    if not lock.exists():
        return False
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
