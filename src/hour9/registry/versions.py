"""Registered versions: one for each judged candidate, and the alias of the best that passed."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from hour9.params import DATA, MODELS, REPORTS
from hour9.registry.lineage import dvc_md5, git_state
from hour9.registry.tracking import connect, rebuild_run, run_of_model

CHALLENGER = "challenger"
PACKAGE = Path(__file__).parent.parent
CODE = ("__init__.py", "params.py", "task.py", "engine", "sources")  # and the topic's folder
REQUIREMENTS = (
    "accelerate",
    "captum",
    "gymnasium",
    "mlflow",
    "numpy",
    "onnxruntime",
    "pandas",
    "pyarrow",
    "pydantic",
    "ruamel.yaml",
    "safetensors",
    "scipy",
    "tokenizers",
    "torch",
)


@dataclass(frozen=True)
class Judged:
    """A candidate as the outs have it: the hashes of its bytes, and its verdict."""

    candidate: str
    task: str
    data_md5: str
    model_md5: str
    evidence_md5: str
    gates_md5: str
    verdict: str

    @property
    def identity(self) -> str:
        """The same for the same bytes: a version is made once."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def judged(task: str, candidate: str) -> Judged:
    """Hash what the stages wrote for a candidate."""
    report = REPORTS / task / candidate
    return Judged(
        candidate=candidate,
        task=task,
        data_md5=dvc_md5(DATA / task),
        model_md5=dvc_md5(MODELS / task / candidate),
        evidence_md5=dvc_md5(report / "evidence.parquet"),
        gates_md5=dvc_md5(report / "gates.json"),
        verdict=json.loads((report / "gates.json").read_text())["verdict"],
    )


def versions_by_identity(task: str) -> dict[str, Any]:
    """The task's versions that hour9 made."""
    found = connect().search_model_versions(f"name = '{task}'")
    return {v.tags["hour9.identity"]: v for v in found if "hour9.identity" in v.tags}


def ensure_version(
    item: Judged, settings: dict[str, Any], example: pd.DataFrame, answers: pd.DataFrame
) -> str:
    """The number of the candidate's version, registered where the registry lacks it."""
    from mlflow.exceptions import MlflowException

    client = connect()
    known = versions_by_identity(item.task).get(item.identity)
    if known:
        return str(known.version)
    try:
        client.create_registered_model(item.task)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    report = REPORTS / item.task / item.candidate
    model = MODELS / item.task / item.candidate
    run_id = run_of_model(item.task, item.candidate, item.model_md5)
    if run_id is None:
        curve = json.loads((report / "curve.json").read_text())
        run_id = rebuild_run(item.candidate, settings, curve, model)
    metrics = json.loads((report / "metrics.json").read_text())
    for name in ("train", "validation", "test", "baseline"):
        client.log_metric(run_id, f"{name}_score", metrics[name])
    for name in ("evidence.parquet", "metrics.json", "gates.json", "curve.json"):
        client.log_artifact(run_id, str(report / name), "evidence")
    client.log_artifacts(run_id, str(report / "pictures"), "pictures")
    model_id = log_model(run_id, item, settings["topic"], model, example, answers)
    tags = {
        **{f"hour9.{name}": str(value) for name, value in asdict(item).items()},
        "hour9.identity": item.identity,
        "hour9.params": json.dumps(settings, sort_keys=True),
        **{f"hour9.{name}": value for name, value in git_state().items()},
    }
    made = client.create_model_version(
        item.task,
        source=client.get_logged_model(model_id).artifact_location,
        run_id=run_id,
        model_id=model_id,
        tags=tags,
        await_creation_for=0,
    )
    return str(made.version)


def log_model(
    run_id: str,
    item: Judged,
    topic: str,
    folder: Path,
    example: pd.DataFrame,
    answers: pd.DataFrame,
) -> str:
    """Package weights, code and signature under the training's run; the model's id."""
    import mlflow

    with mlflow.start_run(run_id=run_id), answering_code(topic) as code:
        logged = mlflow.pyfunc.log_model(
            name=item.candidate,
            python_model=str(Path(__file__).with_name("model.py")),
            artifacts={"model": str(folder), "code": str(code)},
            model_config={"topic": topic, "task": item.task},
            signature=mlflow.models.infer_signature(example, answers),
            input_example=example,
            # Given, because MLflow would spend twenty seconds guessing them.
            pip_requirements=[f"{name}=={version(name).split('+')[0]}" for name in REQUIREMENTS],
        )
    return logged.model_id


@contextmanager
def answering_code(topic: str) -> Iterator[Path]:
    """A folder with the modules that answering needs: a version runs the code it came with."""
    with tempfile.TemporaryDirectory() as scratch:
        package = Path(scratch) / "hour9"
        package.mkdir()
        for name in (*CODE, topic):
            source = PACKAGE / name
            if source.is_dir():
                shutil.copytree(
                    source, package / name, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                shutil.copy(source, package / name)
        yield package.parent


def set_challenger(task: str, number: str | None) -> None:
    """Point `challenger` at a version, or at none where no candidate passed."""
    client = connect()
    aliases = client.get_registered_model(task).aliases
    if number is None and CHALLENGER in aliases:
        client.delete_registered_model_alias(task, CHALLENGER)
    elif number is not None and str(aliases.get(CHALLENGER)) != number:
        client.set_registered_model_alias(task, CHALLENGER, number)


def agrees(receipts: list[dict[str, Any]]) -> bool:
    """Whether the registry holds what the receipts say was registered."""
    from mlflow.exceptions import MlflowException

    for receipt in receipts:
        task = receipt["task"]
        try:
            aliases = connect().get_registered_model(task).aliases
        except MlflowException:
            return False
        known = versions_by_identity(task)
        identities = {name: entry["identity"] for name, entry in receipt["candidates"].items()}
        if not set(identities.values()) <= known.keys():
            return False
        best = receipt["challenger"]
        wanted = str(known[identities[best]].version) if best else None
        if (str(aliases[CHALLENGER]) if CHALLENGER in aliases else None) != wanted:
            return False
    return True


def registered(item: Judged) -> dict[str, Any]:
    """The version that holds a candidate as the outs have it: number, aliases, run."""
    from mlflow.exceptions import MlflowException

    entry = versions_by_identity(item.task).get(item.identity)
    if entry is None:
        return {"version": None, "aliases": [], "run_id": None}
    try:
        aliases = connect().get_registered_model(item.task).aliases
    except MlflowException:
        aliases = {}
    return {
        "version": int(entry.version),
        "aliases": sorted(a for a, n in aliases.items() if str(n) == str(entry.version)),
        "run_id": entry.run_id,
    }
