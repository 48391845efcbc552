"""What the studies share: a command line, an interval over seeds, and the two files they leave.

python studies/scaling.py            # the picture and the numbers behind it
python studies/scaling.py --short    # the same in seconds, for a test: too small to conclude from
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

if TYPE_CHECKING:
    from hour9.rl.dqn import Training
    from hour9.rl.settings import DQN
    from hour9.task import Tables

HERE = Path(__file__).parent
COLOURS = ("#1f6feb", "#d1571b", "#1a7f37", "#8250df", "#9a6700", "#57606a")


@dataclass(frozen=True)
class Asked:
    """What the command line asks for."""

    short: bool
    pictures: Path

    def save(self, name: str, figure: Figure, points: list[dict[str, Any]]) -> None:
        """Write <name>.png, and <name>.json with the numbers it was drawn from."""
        self.pictures.mkdir(parents=True, exist_ok=True)
        figure.savefig(self.pictures / f"{name}.png", dpi=120)
        (self.pictures / f"{name}.json").write_text(json.dumps(points, indent=1) + "\n")
        for point in points:
            print("  ".join(f"{key} {show(value)}" for key, value in point.items()))


def asked(doc: str | None) -> Asked:
    """Read the command line; one thread, as everywhere that a number must come out again."""
    import torch

    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="seconds; too small to conclude from")
    parser.add_argument("--pictures", type=Path, default=HERE / "pictures")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    return Asked(arguments.short, arguments.pictures)


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean over seeds, and the bounds that hold it in 95 of 100 repetitions (Student's t)."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, mean, mean
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return mean, mean - half, mean + half


def looks(settings: DQN, tables: Tables, every: int) -> Iterator[Training]:
    """Train agents, and stop every so many steps for whoever wants to look at them."""
    from hour9.engine.checkpoint import Checkpoint
    from hour9.engine.run import Run
    from hour9.rl.dqn import Training

    with tempfile.TemporaryDirectory() as scratch, contextlib.redirect_stdout(io.StringIO()):
        folder = Path(scratch)
        training = Training(Run(settings, tables, folder, folder / "model", Checkpoint(folder)))
        while training.place.step < settings.steps:
            training.round()
            if not training.place.step % every:
                yield training


def curve(axis: Axes, points: list[dict], label: str, colour: str, style: str = "-") -> None:
    """Mean over seeds with its interval, over the steps."""
    steps, mean, low, high = ([p[key] for p in points] for key in ("step", "mean", "low", "high"))
    axis.plot(steps, mean, color=colour, linestyle=style, label=label)
    axis.fill_between(steps, low, high, color=colour, alpha=0.12, linewidth=0)


def show(value: Any) -> str:
    """A number with four digits; all else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
