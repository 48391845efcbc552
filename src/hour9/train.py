"""Train: one candidate, from data/<task>/ to models/<task>/<candidate>/ and its learning curve."""

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from hour9.engine import processes
from hour9.engine.checkpoint import Checkpoint
from hour9.engine.device import pick_device, pick_precision, prepare_threads
from hour9.engine.run import Run
from hour9.engine.settings import Settings, load_settings
from hour9.params import DATA, LOCK, MODELS, REPORTS, STATE
from hour9.task import load_task, read_tables, without_test

CHECKPOINTS = STATE / "checkpoints"
PACKAGE = Path(__file__).parent
# With the topic's folder, the code that dvc.yaml names for `train`:
CODE = ("__init__.py", "engine", "params.py", "registry/__init__.py", "registry/lineage.py",
        "registry/tracking.py", "sources", "stage.py", "task.py", "train.py", "warm.py",
        "wording.py")  # fmt: skip


class ChangedMeanwhile(RuntimeError):  # noqa: N818 - reads as a sentence where it is raised
    """DVC would write down what lies there now, with a model that something else was made of."""


def train(name: str) -> None:
    """Train the candidate, going on where a killed training stopped; in several processes where
    its settings say so."""
    settings = load_settings(name)
    device, count = pick_device(settings.device), getattr(settings, "processes", 1)
    pick_precision(settings.precision, device)  # raises before anything is read
    if count > 1 and not processes.launched():
        processes.launch(train, name, count, device)
        return
    prepare_threads(settings.threads)
    with processes.joined(count, device):
        if processes.rank() == 0:
            lead(name, settings, device)
        else:
            assist(name, settings)


def lead(name: str, settings: Any, device: torch.device) -> None:
    """Train, report and write."""
    from hour9.registry.tracking import TrainingRun

    folder = MODELS / settings.task / name
    report = REPORTS / settings.task / name
    run = prepare(name, settings, folder)
    tracked = TrainingRun(name, settings.model_dump(), run.checkpoint.folder, str(device))
    run.publish = tracked.publish
    with tracked:
        load_task(settings.task).train(run)
        check_unchanged(name, settings, run.checkpoint.folder.name)
        write_curve(run.curve, report / "curve.json")
        tracked.finish(run.curve, folder)
    run.checkpoint.clear()


def check_unchanged(candidate: str, settings: Any, key: str) -> None:
    """Raise ChangedMeanwhile where somebody edited what the training began with."""
    was, now = settings.model_dump(), load_settings(candidate).model_dump()
    if changed := [name for name in was | now if was.get(name) != now.get(name)]:
        what = "in params.yaml " + ", ".join(changed)
    elif inputs_key(settings) != key:
        what = "its data, its code or requirements.lock"
    else:
        return
    raise ChangedMeanwhile(
        f"{what} changed while it trained, so the model is not kept; run it again, or put that "
        "back first, to go on from the last checkpoint"
    )


def assist(name: str, settings: Any) -> None:
    """Train the same, beside the process that leads, and forget it."""
    with tempfile.TemporaryDirectory() as scratch:
        load_task(settings.task).train(prepare(name, settings, Path(scratch)))


def prepare(name: str, settings: Any, folder: Path) -> Run:
    """What the task's training is given."""
    return Run(
        settings=settings,
        tables=without_test(read_tables(DATA / settings.task)),
        parent=Path(settings.parent),
        folder=folder,
        checkpoint=Checkpoint(CHECKPOINTS / name / inputs_key(settings)),
    )


def inputs_key(settings: Settings) -> str:
    """Names the training by all that it depends on, so that no other one continues it."""
    code = [PACKAGE / name for name in (*CODE, settings.topic)]
    digest = hashlib.sha256(json.dumps(settings.model_dump(), sort_keys=True).encode())
    for root in [DATA / settings.task, Path(settings.parent), *code, LOCK]:
        for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"\0{path.name}\0".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:32]


def write_curve(curve: list[dict[str, float]], path: Path) -> None:
    """The learning curve as a list of points, one a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("[\n" + ",\n".join(json.dumps(point) for point in curve) + "\n]\n")
