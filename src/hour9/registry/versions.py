"""Registered versions: one for each judged candidate, and the alias of the best that passed."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from hour9.lockfile import entries, names
from hour9.params import DATA, LOCK, MODELS, REPORTS, Refused
from hour9.registry.lineage import dvc_md5, git_state, patch
from hour9.registry.packages import Unusable, check_bytes, unpack
from hour9.registry.tracking import connect, experiment, rebuild_run, run_of_model

CHALLENGER = "challenger"
CHOSEN = "hour9.challenger"
"""Tag of a task's model: the version that `register` last made the challenger; empty for none."""
CLEANED = "hour9.cleaned"
"""Tag of a version: when `clean` took its artifacts."""
JUDGED = "hour9.promotion"
"""Tag of a version: what `promote` judged about it, as JSON."""
OTHER_CODE = "answers by code that has changed since"
EVIDENCE = ("evidence.parquet", "metrics.json", "gates.json", "curve.json")
SCORES = ("train", "validation", "test", "baseline")
"""Those of the metrics that are means of scores."""
PACKAGE = Path(__file__).parent.parent
# With the topic's folder, all that answering imports:
CODE = ("__init__.py", "params.py", "task.py", "wording.py", "engine", "sources")
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


def of_these_data(item: Judged) -> bool:
    """Whether the model learned from the data that lie here now, and its evidence is about both.

    Where one candidate alone runs after a change of source, the others stay behind. dvc.lock knows
    what their stages read; stages that it does not know were run by hand, for what lies here.
    """
    here = {
        str(DATA / item.task): item.data_md5,
        str(MODELS / item.task / item.candidate): item.model_md5,
    }
    known = {f"train@{item.candidate}", f"evaluate@{item.candidate}"} & {*names()}
    read = [dep for stage in entries(known).values() for dep in stage["deps"]] if known else []
    return all(dep["md5"] == here.get(dep["path"], dep["md5"]) for dep in read)


def versions(task: str) -> list[Any]:
    """The task's versions that hour9 made and that `clean` has left whole, oldest first."""
    found = connect().search_model_versions(f"name = '{task}'")
    ours = (v for v in found if "hour9.identity" in v.tags and CLEANED not in v.tags)
    return sorted(ours, key=lambda version: int(version.version))


def versions_by_identity(task: str) -> dict[str, Any]:
    """Those of `versions` that were not rebuilt since, by their identity."""
    return by_identity(versions(task))


def by_identity(oldest_first: Iterable[Any]) -> dict[str, Any]:
    """Of versions of the same bytes the last: it was rebuilt for the others."""
    return {version.tags["hour9.identity"]: version for version in oldest_first}


def ensure_version(
    item: Judged,
    settings: dict[str, Any],
    example: pd.DataFrame,
    answers: pd.DataFrame,
    rebuild: bool = False,
) -> str:
    """The number of the candidate's version, registered where the registry lacks it; with
    `rebuild`, also where it lacks a part of it, or answers by other code than today's: then under
    a new number, as numbers are final."""
    from mlflow.exceptions import MlflowException

    client = connect()
    known = versions_by_identity(item.task).get(item.identity)
    if known:
        old = OTHER_CODE if answers_otherwise(known, settings["topic"]) else ""
        missing = rebuild and (lost(known) or old)
        if old and not rebuild:
            said = f"version {known.version} of {item.task} {old}"
            print(f"{said}; hour9 register {item.task} --rebuild makes one that does not")
        if not missing:
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
    for name in metrics.keys() - {"metric"}:
        client.log_metric(run_id, f"{name}_score" if name in SCORES else name, metrics[name])
    client.log_artifacts(run_id, str(report), "report")
    git = git_state()
    if git["git_dirty"] == "true":
        client.log_text(run_id, patch(), f"patches/{item.identity}.patch")
    model_id, code_md5 = log_model(run_id, item, settings["topic"], example, answers)
    place = client.get_logged_model(model_id).artifact_location
    try:
        package_md5 = tried_md5(place, example)
    except Unusable as error:
        client.delete_logged_model(model_id)
        raise Unusable(f"{item.candidate} is not registered, its package fails: {error}") from error
    of_run = client.get_run(run_id)
    lineage = {
        **asdict(item),
        "identity": item.identity,
        "code_md5": code_md5,
        "package_md5": package_md5,
        "params": json.dumps(settings, sort_keys=True),
        "seed": settings["seed"],
        "python": platform.python_version(),
        "lock_md5": dvc_md5(LOCK),
        "libraries": json.dumps(libraries(), sort_keys=True),
        "device": of_run.data.tags.get("hour9.device", "unknown"),
        "wall_seconds": of_run.data.tags.get("hour9.wall_seconds", "unknown"),
        **git,
        **({"rebuilt": f"of version {known.version}: {missing}"} if known else {}),
    }
    tags = {f"hour9.{name}": str(value) for name, value in lineage.items()}
    made = client.create_model_version(
        item.task,
        source=place,
        run_id=run_id,
        model_id=model_id,
        tags=tags,
        description=f"{item.candidate}: {item.verdict}; {metrics['metric']} on test "
        f"{metrics['test']:.4g}, its baseline {metrics['baseline']:.4g}",
        await_creation_for=0,
    )
    return str(made.version)


def answers_otherwise(version: Any, topic: str) -> bool:
    """Whether the code that a version carries is not today's; the same bytes came out of both."""
    with answering_code(topic) as code:
        return bool(version.tags["hour9.code_md5"] != dvc_md5(code))


def lost(version: Any) -> str:
    """What the registry no longer has of a version; nothing where it is whole."""
    from mlflow.exceptions import MlflowException

    try:
        if connect().get_run(version.run_id).info.lifecycle_stage != "active":
            return "its run was deleted"
        with unpack(version) as package:
            return "; ".join(check_bytes(version, package))
    except MlflowException:
        return "its run is gone"
    except Unusable as error:
        return str(error)


def tried_md5(place: str, example: pd.DataFrame) -> str:
    """The hash of a package as the registry keeps it: of the files that MLflow runs, too.

    Raises Unusable where it does not answer the example: MLflow's own trial only warns.
    """
    import mlflow

    with tempfile.TemporaryDirectory() as scratch:
        folder = mlflow.artifacts.download_artifacts(place, dst_path=scratch)
        md5 = dvc_md5(Path(folder))  # first: what runs leaves byte code there
        try:
            mlflow.pyfunc.load_model(folder).predict(example)
        except Exception as error:  # its own code
            raise Unusable(f"{type(error).__name__}: {error}") from error
        return md5


def libraries() -> dict[str, str]:
    """What answering needs, with its versions."""
    return {name: version(name).split("+")[0] for name in REQUIREMENTS}


def log_model(
    run_id: str, item: Judged, topic: str, example: pd.DataFrame, answers: pd.DataFrame
) -> tuple[str, str]:
    """Pack weights, code, evidence and signature under the training's run: a version needs
    nothing else. Its id, and the hash of the code."""
    import mlflow

    with (
        mlflow.start_run(run_id=run_id),
        answering_code(topic) as code,
        evidence_of(item) as evidence,
    ):
        code_md5 = dvc_md5(code)
        logged = mlflow.pyfunc.log_model(
            name=item.candidate,
            python_model=str(Path(__file__).with_name("model.py")),
            artifacts={
                "model": str(MODELS / item.task / item.candidate),
                "code": str(code),
                "evidence": str(evidence),
            },
            model_config={"topic": topic, "task": item.task},
            signature=mlflow.models.infer_signature(example, answers),
            input_example=example,
            # Given, because MLflow would spend twenty seconds guessing them.
            pip_requirements=[f"{name}=={number}" for name, number in libraries().items()],
        )
    return logged.model_id, code_md5


@contextmanager
def evidence_of(item: Judged) -> Iterator[Path]:
    """A folder with what the version was judged by."""
    with tempfile.TemporaryDirectory() as scratch:
        for name in EVIDENCE:
            shutil.copy(REPORTS / item.task / item.candidate / name, scratch)
        yield Path(scratch)


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
    """Point `challenger` at a version, or at none where no candidate passed.

    The choice is noted first: what differs from it was set by hand.
    """
    client = connect()
    model = client.get_registered_model(task)
    if model.tags.get(CHOSEN) != (number or ""):
        client.set_registered_model_tag(task, CHOSEN, number or "")
    if number is None and CHALLENGER in model.aliases:
        client.delete_registered_model_alias(task, CHALLENGER)
    elif number is not None and str(model.aliases.get(CHALLENGER)) != number:
        client.set_registered_model_alias(task, CHALLENGER, number)


def aliases(task: str) -> dict[str, str]:
    """The number of the version that each of a task's aliases names. Raises Refused."""
    from mlflow.exceptions import MlflowException

    try:
        found = connect().get_registered_model(task).aliases
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise Refused(f"the registry has no model '{task}'; hour9 run --task {task}") from None
    return {name: str(number) for name, number in found.items()}


def agrees(receipts: Iterable[Path]) -> bool:
    """Whether the registry holds what these files say was registered."""
    from mlflow.exceptions import MlflowException

    for path in receipts:
        if not path.exists():
            return False
        receipt = json.loads(path.read_text())
        task = receipt["task"]
        try:
            model = connect().get_registered_model(task)
        except MlflowException:
            return False
        known = versions_by_identity(task)
        identities = {name: entry["identity"] for name, entry in receipt["candidates"].items()}
        if not set(identities.values()) <= known.keys():
            return False
        best = receipt["challenger"]
        wanted = str(known[identities[best]].version) if best else ""
        if {str(model.aliases.get(CHALLENGER, "")), model.tags.get(CHOSEN)} != {wanted}:
            return False
    return True


def registered(item: Judged) -> dict[str, Any]:
    """The version that holds a candidate as the outs have it: number, aliases, run."""
    from mlflow.exceptions import MlflowException

    entry = versions_by_identity(item.task).get(item.identity)
    if entry is None:
        return {"version": None, "aliases": [], "run_id": None, "promotion": []}
    try:
        aliases = connect().get_registered_model(item.task).aliases
    except MlflowException:
        aliases = {}
    return {
        "version": int(entry.version),
        "aliases": sorted(a for a, n in aliases.items() if str(n) == str(entry.version)),
        "run_id": entry.run_id,
        "experiment_id": experiment(item.task),
        "promotion": json.loads(entry.tags.get(JUDGED, "[]")),
    }
