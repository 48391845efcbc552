"""Short trainings, and trainings that are killed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hour9.engine.checkpoint import Checkpoint, State
from hour9.engine.run import Run
from hour9.engine.settings import load_settings
from hour9.task import Tables, Task, without_test
from hour9.validate import deal_splits


class Killed(Exception):  # noqa: N818 - it is not an error
    """The process is gone."""


class KillingCheckpoint(Checkpoint):
    """Saves whenever it can, and kills the training right after the n-th time."""

    def __init__(self, folder: Path, kill_after: int):
        super().__init__(folder, seconds=0)
        self.left = kill_after

    def save(self, state: State) -> None:
        super().save(state)
        self.left -= 1
        if not self.left:
            raise Killed


@pytest.fixture
def run_of(tmp_path) -> Callable[..., Run]:
    def make(
        task: Task, candidate: str, tables: Tables, checkpoint: Checkpoint | None = None, **settings
    ) -> Run:
        chosen = load_settings(candidate)
        return Run(
            settings=type(chosen)(**{**chosen.model_dump(), **settings}),
            tables=without_test(deal_splits(tables)),
            parent=tmp_path,
            folder=tmp_path / ("model" if checkpoint is None else "model-after-kills"),
            checkpoint=checkpoint or Checkpoint(tmp_path / "unused", seconds=1e9),
        )

    return make


@pytest.fixture
def killed_and_resumed(run_of, tmp_path) -> Callable[..., tuple[Run, Run]]:
    """The same training twice: at one go, and killed after its 1st and again its 3rd checkpoint."""

    def train(task: Task, candidate: str, tables: Tables, **settings) -> tuple[Run, Run]:
        whole = run_of(task, candidate, tables, **settings)
        task.train(whole)
        folder = tmp_path / "checkpoint"
        for kill_after in (1, 2):
            killed = run_of(
                task, candidate, tables, KillingCheckpoint(folder, kill_after), **settings
            )
            with pytest.raises(Killed):
                task.train(killed)
        resumed = run_of(task, candidate, tables, Checkpoint(folder), **settings)
        task.train(resumed)
        return whole, resumed

    return train
