"""What a training is given, and the one place it reports to."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hour9.engine import processes
from hour9.engine.checkpoint import Checkpoint, State
from hour9.engine.settings import Settings
from hour9.task import Tables

Point = dict[str, float]
"""One point of the learning curve: `step` and what was measured there."""


@dataclass
class Run:
    """One training of one candidate."""

    settings: Any  # the architecture's own subclass of Settings
    tables: Tables
    """The task's tables without the test cases."""
    parent: Path
    """Folder that training starts from: the data, or pre-trained weights."""
    folder: Path
    """Where the model goes."""
    checkpoint: Checkpoint
    curve: list[Point] = field(default_factory=list)
    publish: Callable[[list[Point]], None] = lambda points: None
    """Takes the curve so far, to be shown while training goes on."""
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        assert isinstance(self.settings, Settings)

    def log(self, step: int, **measured: float) -> None:
        """Add a point to the learning curve. Only what a rerun would repeat: never a time."""
        self.curve.append({"step": step, **{name: float(x) for name, x in measured.items()}})

    def progress(self, done: int, total: int, what: str = "") -> None:
        """Say how far training is, to the person who waits."""
        if processes.rank() > 0:
            return
        seconds = time.monotonic() - self.started
        print(f"{done}/{total} {what} · {seconds:.0f} s".replace("  ", " "), flush=True)

    def resume(self) -> State | None:
        """The state to go on from, with the curve as it was then; None at a first start."""
        saved = self.checkpoint.load()
        processes.wait_for_all()  # the first process's next checkpoint replaces what all read
        if saved is None:
            return None
        self.curve[:] = saved["curve"]
        if processes.rank() == 0:
            print("continues from its checkpoint", file=sys.stderr, flush=True)
        return saved["state"]

    def save(self, state: State) -> None:
        """Make a checkpoint, then publish the curve up to it."""
        self.checkpoint.save({"curve": self.curve, "state": state})
        self.publish(self.curve)

    def save_if_due(self, state: Callable[[], State]) -> None:
        """Make a checkpoint where the last one is old enough."""
        if processes.rank() == 0 and self.checkpoint.due():
            self.save(state())
