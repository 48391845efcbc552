"""Sweep: search a candidate's settings for a better validation score. Nothing is changed by it.

What may vary is marked where it is declared, in the architecture's settings; the first trial is
what params.yaml says now. Some trials run at once, here or on a pool's workers, a round of them at
a time: a round knows what the rounds before it found, and the same seed finds the same.
The test split takes no part: a training never sees it, and the score is that on validation.
"""

from __future__ import annotations

import difflib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import optuna

from hour9 import dag, dispatch, run
from hour9.bring_up import RunFailed
from hour9.config import as_yaml, set_params
from hour9.engine.settings import Settings, load_settings
from hour9.params import PARAMS, UnknownName, read_params
from hour9.registry import reaper
from hour9.registry.tracking import connect, experiment, is_embedded, whose
from hour9.search_space import NothingToSearch, marked, rounded, space
from hour9.servers import PrefectServer
from hour9.stage import LOGS, only_one
from hour9.trial import SCORE, SWEEPS, Curve

RANDOM_TRIALS = 8
"""Drawn evenly, before the search knows enough to prefer anything."""


@dataclass
class Outcome:
    """What one trial brought."""

    values: dict[str, Any]
    curve: Curve = field(default_factory=list)
    pruned: bool = False
    failed: str = ""

    @property
    def score(self) -> float:
        return max((value for _, value in self.curve), default=float("-inf"))


RunTrial = Callable[[str, dict[str, Any], Callable[[], bool]], str]
"""Runs a trial of this name and spec, unless stopped; what it said where it failed."""


def sweep(
    task: str,
    candidate: str,
    trials: int,
    seed: int,
    at_once: int = 0,
    pool: str = "",
    say: Callable[[str], None] = print,
) -> None:
    """Bring up to date what the candidate trains on, search, and keep the best for `accept`."""
    commit = for_workers(pool) if pool else ""
    candidate = candidate or searchable(task)
    if (of := load_settings(candidate).task) != task:
        raise UnknownName(f"{candidate} is a candidate of {of}, not of {task}")
    space(load_settings(candidate))  # refused here, before anything runs
    with run.one_run(say) as this, run.warmed():
        every = this.stages
        for name in before_training(candidate, every):
            dag.reproduce(name, say)
        (training,) = (stage for stage in every if stage.name == f"train@{candidate}")
        run_trial = there(training, commit, pool, say) if pool else run_here
        best, now = search(candidate, trials, seed, at_once or run.cores(), run_trial, say)
    keep(task, candidate, best, now, say)


def for_workers(pool: str) -> str:
    """The commit that the pool's workers are to check out. Raises NotSent where none could."""
    commit = dispatch.commit_to_send()
    if is_embedded():
        raise dispatch.NotSent(
            "trials report to MLflow, and workers cannot see this checkout's own store: "
            "set MLFLOW_TRACKING_URI to one that all share"
        )
    PrefectServer.shared()
    dispatch.check_served(pool)
    return commit


def searchable(task: str) -> str:
    """The task's first candidate that has anything to search."""
    for name, section in read_params()["candidates"].items():
        if section["task"] == task and marked(load_settings(name)):
            return name
    raise NothingToSearch(f"no candidate of '{task}' has a setting that is marked for a search")


def before_training(candidate: str, every: list[dag.Stage]) -> list[str]:
    """The stages that a training of the candidate stands on, in order."""
    wanted = {f"train@{candidate}"}
    for stage in reversed(every):
        if stage.name in wanted:
            wanted |= set(stage.needs)
    return [stage.name for stage in every if stage.name in wanted - {f"train@{candidate}"}]


# The search


def search(
    candidate: str,
    trials: int,
    seed: int,
    at_once: int,
    run_trial: RunTrial,
    say: Callable[[str], None],
) -> tuple[Outcome, Outcome]:
    """The best outcome, and that of the settings as they are."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    settings = load_settings(candidate)
    where = space(settings)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=RANDOM_TRIALS)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial({name: getattr(settings, name) for name in where})
    outcomes: list[Outcome] = []
    for closed in reaper.reap():
        say(closed)
    stop = Event()
    with (
        parent_run(candidate, trials, seed) as parent,
        ThreadPoolExecutor(at_once) as threads,
        on_error(stop.set),  # the threads are waited for
    ):
        while len(outcomes) < trials:
            asked = [study.ask(where) for _ in range(min(at_once, trials - len(outcomes)))]
            past = [
                {"curve": one.curve, "pruned": one.pruned} for one in outcomes if not one.failed
            ]
            jobs = [
                threads.submit(
                    attempt, settings, candidate, one, past, parent, run_trial, stop.is_set
                )
                for one in asked
            ]
            for one, job in zip(asked, jobs, strict=True):
                outcomes.append(job.result())
                tell(study, one, outcomes[-1])
                say(line(len(outcomes) - 1, outcomes))
        if all(one.failed for one in outcomes):
            raise RunFailed(
                f"every trial failed; the first, what params.yaml says now: {outcomes[0].failed}"
            )
        best = max(outcomes, key=lambda outcome: outcome.score)  # a tie keeps the earlier one
        connect().set_tag(parent, "hour9.best", json.dumps(best.values))
        connect().log_metric(parent, SCORE, best.score)
    return best, outcomes[0]


def attempt(
    settings: Settings,
    candidate: str,
    asked: optuna.Trial,
    past: list[dict[str, Any]],
    parent: str,
    run_trial: RunTrial,
    stopped: Callable[[], bool],
) -> Outcome:
    """Have one trial run, and read what it brought from its MLflow run."""
    values = settings.model_dump() if asked.number == 0 else rounded(asked.params)
    values = {name: values[name] for name in asked.params}
    section = settings.model_dump() | values
    client = connect()
    with child_run(candidate, asked.number, values, section, parent) as run_id:
        spec = {"settings": section, "run_id": run_id, "past": past}
        if failed := run_trial(f"{candidate}.{asked.number}", spec, stopped):
            fail(run_id)
            return Outcome(values, failed=failed)
        points = client.get_metric_history(run_id, SCORE)
        pruned = client.get_run(run_id).data.tags["hour9.pruned"] == "true"
    return Outcome(values, sorted((point.step, point.value) for point in points), pruned)


def tell(study: optuna.Study, asked: optuna.Trial, outcome: Outcome) -> None:
    """What Optuna learns of it."""
    for step, value in outcome.curve:
        asked.report(value, step)
    if outcome.failed:
        study.tell(asked, state=optuna.trial.TrialState.FAIL)
    elif outcome.pruned:
        study.tell(asked, state=optuna.trial.TrialState.PRUNED)
    else:
        study.tell(asked, outcome.score)


def line(number: int, outcomes: list[Outcome]) -> str:
    """A trial in one line."""
    one = outcomes[number]
    values = ", ".join(f"{name} {value}" for name, value in one.values.items())
    if one.failed:
        return f"trial {number}: failed, {one.failed} ({values})"
    what = f"pruned at step {one.curve[-1][0]}" if one.pruned else f"{SCORE} {one.score:.4f}"
    best = max(outcome.score for outcome in outcomes)
    return f"trial {number}: {what}, best {best:.4f} ({values})"


def run_here(name: str, spec: dict[str, Any], stopped: Callable[[], bool] = lambda: False) -> str:
    """A trial in a process of its own on this machine; its last words where it failed."""
    SWEEPS.mkdir(parents=True, exist_ok=True)
    name = f"{name}.{spec['run_id'][:8]}"  # a worker may have two sweeps of one candidate
    place, stage = SWEEPS / f"{name}.json", f"trial@{name}"
    log = Path(os.environ.get(LOGS, "")) / f"{stage}.log"  # takes what would be printed
    with run.gpu_turn(stage, stopped):
        place.write_text(json.dumps(spec))
        log.unlink(missing_ok=True)
        done = subprocess.run(
            [sys.executable, "-m", "hour9.stage", "trial", name], capture_output=True, text=True
        )
        place.unlink()
    if not done.returncode:
        return ""
    said = log.read_text() if log.exists() else done.stderr or done.stdout
    words = said.strip().splitlines() or [f"exit {done.returncode}"]
    return words[-1].removeprefix(f"{stage}: ")


def there(training: dag.Stage, commit: str, pool: str, say: Callable[[str], None]) -> RunTrial:
    """A trial on a worker of the pool; it needs what the candidate's training needs."""

    def run_trial(name: str, spec: dict[str, Any], stopped: Callable[[], bool]) -> str:
        trial = dag.Stage(f"trial@{name}", training.needs)
        try:
            dispatch.send(trial, commit, pool, lambda line: say(f"{name} {line}"), stopped, spec)
        except dag.StageFailed as error:
            return str(error).splitlines()[0]
        return ""

    return run_trial


# MLflow


@contextmanager
def parent_run(candidate: str, trials: int, seed: int) -> Iterator[str]:
    """The run of the sweep; its trials are its children."""
    from mlflow.entities import Param

    client, task = connect(), load_settings(candidate).task
    stage = f"sweep@{candidate}"
    tags = {"hour9.sweep": candidate, "hour9.task": task, **whose(stage)}
    with only_one(stage):
        run_id = client.create_run(
            experiment(task), tags=tags, run_name=f"sweep {candidate}"
        ).info.run_id
        with on_error(partial(fail, run_id)):
            params = [Param("trials", str(trials)), Param("seed", str(seed))]
            client.log_batch(run_id, params=params)
            yield run_id
        client.set_terminated(run_id, "FINISHED")


@contextmanager
def child_run(
    candidate: str, number: int, values: dict[str, Any], section: dict[str, Any], parent: str
) -> Iterator[str]:
    """The run of one trial, which closes it where it ends well."""
    from mlflow.entities import Param

    client, task = connect(), section["task"]
    tags = {"mlflow.parentRunId": parent, "hour9.trial": candidate, "hour9.task": task}
    tags |= whose(f"sweep@{candidate}")  # until the trial's own process takes it over
    name = f"trial {number} of {candidate}"
    run_id = client.create_run(experiment(task), tags=tags, run_name=name).info.run_id
    with on_error(partial(fail, run_id)):
        client.log_batch(run_id, params=[Param(key, str(value)) for key, value in values.items()])
        yield run_id


@contextmanager
def on_error(act: Callable[[], None]) -> Iterator[None]:
    """Do it where the block does not end well, as by Ctrl-C."""
    try:
        yield
    except BaseException:
        act()
        raise


def fail(run_id: str) -> None:
    connect().set_terminated(run_id, "FAILED")


# What comes of it


def keep(
    task: str, candidate: str, best: Outcome, now: Outcome, say: Callable[[str], None]
) -> None:
    """Say what was found, and how it is accepted."""
    section = read_params()["candidates"][candidate]
    changes = [
        f"candidates.{candidate}.{name}={as_yaml(value)}"
        for name, value in best.values.items()
        if value != section[name]
    ]
    SWEEPS.mkdir(parents=True, exist_ok=True)
    kept = {"candidate": candidate, "changes": changes}
    (SWEEPS / f"{task}.json").write_text(json.dumps(kept))
    if not changes:
        say(f"nothing beat what params.yaml says now: {SCORE} {now.score:.4f}")
        return
    if now.failed:
        say(f"what params.yaml says now failed: {now.failed}")
    before = "none" if now.failed else f"{now.score:.4f}"
    say(
        f"{SCORE} {before} → {best.score:.4f}, the best of several on these very cases, "
        "so expect less of it; test was not read"
    )
    say(difference(changes))
    say(f"accept it: hour9 sweep {task} --accept")
    say("or by hand: hour9 run " + " ".join(f"--set {change}" for change in changes))


def difference(changes: list[str]) -> str:
    """params.yaml as it is and as it would be, as a diff."""
    scratch = SWEEPS / PARAMS.name
    scratch.write_text(PARAMS.read_text())
    set_params(changes, scratch)
    old, new = (path.read_text().splitlines() for path in (PARAMS, scratch))
    scratch.unlink()
    name = str(PARAMS)
    return "\n".join(difflib.unified_diff(old, new, name, name, n=0, lineterm=""))


def accept(task: str, candidate: str = "") -> list[str]:
    """Write the last sweep's best to params.yaml; a line for each change. Raises NothingToSearch
    where there was none, or the last one was of another candidate."""
    place = SWEEPS / f"{task}.json"
    if not place.exists():
        raise NothingToSearch(f"no sweep of '{task}' here; hour9 sweep {task} --trials 20")
    found = json.loads(place.read_text())
    if candidate not in ("", found.get("candidate", candidate)):  # older ones do not say
        raise NothingToSearch(
            f"the last sweep of '{task}' was of {found['candidate']}, not of {candidate}"
        )
    return set_params(found["changes"])
