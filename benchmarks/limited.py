"""A training for a busy machine: it ends with its time, and the next start goes on from there.

parser = argparse.ArgumentParser(parents=[options()])     # --minutes and --state
run = limited(asked, settings, tables, parent)            # raises TimeIsUp where it is cut
"""

import argparse
import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hour9.engine.checkpoint import Checkpoint, State
from hour9.engine.run import Run
from hour9.engine.settings import Settings
from hour9.task import Tables


class TimeIsUp(SystemExit):
    """The minutes are over and the checkpoint is there: the program ends with this message."""


@dataclass
class LimitedRun(Run):
    """A run that saves its state and stops when its minutes are over."""

    minutes: float = float("inf")

    def save_if_due(self, state: Callable[[], State]) -> None:
        if time.monotonic() - self.started > 60 * self.minutes:
            self.save(state())
            raise TimeIsUp("the time is up; the same command goes on from here")
        super().save_if_due(state)


def options() -> argparse.ArgumentParser:
    """What every command with a long training takes."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="wall time of this start"
    )
    parser.add_argument("--state", type=Path, default=Path(".hour9/benchmarks"))
    return parser


def limited(
    asked: argparse.Namespace, settings: Settings, tables: Tables, parent: Path
) -> LimitedRun:
    """A run whose folder is named by its settings and data; `finished` removes it."""
    said = digest(settings, tables)
    if parent.is_file():
        said.update(parent.read_bytes())
    folder = asked.state / f"{settings.task}-{said.hexdigest()[:12]}"
    checkpoint = Checkpoint(folder / "checkpoint")
    return LimitedRun(settings, tables, parent, folder / "model", checkpoint, minutes=asked.minutes)


def digest(settings: Settings, tables: Tables) -> "hashlib._Hash":
    """Names a training by its settings and its data; more may be added to it."""
    said = hashlib.sha256(json.dumps(settings.model_dump(), sort_keys=True).encode())
    for name in sorted(tables):
        said.update(tables[name].to_parquet())
    return said


def finished(run: LimitedRun) -> None:
    """The training is over and judged: the next start begins anew."""
    shutil.rmtree(run.folder.parent)
