"""Trial: one training of a sweep, with settings of its own, into a folder that is thrown away.

It sees what every training sees, and so no test case; it reports to its MLflow run, where the
sweep reads the result. `python -m hour9.stage trial nodes-gcn.3.0f5c1d2e` runs the one
that `sweep` has numbered 3, with the run of that id.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import optuna

from hour9.engine.checkpoint import Checkpoint
from hour9.engine.device import prepare_threads
from hour9.engine.run import Run
from hour9.engine.settings import Settings, settings_class
from hour9.params import DATA, STATE
from hour9.task import load_task, read_tables, without_test

SWEEPS = STATE / "sweeps"
SCORE = "validation"

Curve = list[tuple[int, float]]
"""(step, validation score), the scores that a trial has reported."""


class Enough(BaseException):
    """A run has seen what it was for. No error: nothing that catches errors may stop it."""


def trial(name: str) -> None:
    """Train as `<name>.json` in the sweeps' folder says."""
    from hour9.registry.tracking import connect, log_curve, take_over

    spec = json.loads((SWEEPS / f"{name}.json").read_text())
    section = spec["settings"]
    settings = settings_class(section["topic"], section["architecture"])(**section)
    prepare_threads(settings.threads)
    client = connect()
    take_over(spec["run_id"], f"trial@{name}")
    run = rehearse(Watched, settings, judge=beside(spec["past"]))
    log_curve(client, spec["run_id"], run.curve)
    client.set_tag(spec["run_id"], "hour9.pruned", str(run.pruned).lower())
    client.set_terminated(spec["run_id"], "KILLED" if run.pruned else "FINISHED")


R = TypeVar("R", bound=Run)


def rehearse(kind: type[R], settings: Settings, **more: Any) -> R:
    """Train into a folder that is thrown away, to the end or until the run has had Enough."""
    with tempfile.TemporaryDirectory() as scratch:
        run = kind(
            settings=settings,
            tables=without_test(read_tables(DATA / settings.task)),
            parent=Path(settings.parent),
            folder=Path(scratch) / "model",
            checkpoint=Checkpoint(Path(scratch) / "checkpoint", seconds=float("inf")),
            **more,
        )
        with suppress(Enough):
            load_task(settings.task).train(run)
    return run


def beside(past: Sequence[Mapping[str, Any]]) -> optuna.Trial:
    """A trial that is judged by what the earlier ones had reported at the same step.

    Those beside it do not count: when they reach a step is a matter of chance.
    """
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner())
    for one in past:
        curve = {int(step): value for step, value in one["curve"]}
        state = optuna.trial.TrialState.PRUNED if one["pruned"] else None
        study.add_trial(
            optuna.create_trial(
                value=max(curve.values()),
                intermediate_values=curve,
                state=state or optuna.trial.TrialState.COMPLETE,
            )
        )
    return study.ask()


@dataclass
class Watched(Run):
    """A training that stops where it falls behind."""

    judge: Any = field(kw_only=True)
    pruned: bool = False

    def log(self, step: int, **measured: float) -> None:
        super().log(step, **measured)
        if SCORE in measured:
            self.judge.report(float(measured[SCORE]), step)
            if self.judge.should_prune():
                self.pruned = True
                raise Enough

    def progress(self, done: int, total: int, what: str = "") -> None:
        """Nobody waits for a single trial."""
