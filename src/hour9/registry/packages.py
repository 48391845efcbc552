"""A registered version on disk again: its weights, its code and the evidence it was judged by."""

from __future__ import annotations

import importlib
import json
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from hour9.registry.lineage import dvc_md5
from hour9.registry.tracking import connect

META = "registered_model_meta"  # which version it is: MLflow adds it to what is fetched
ROUNDS = 30
"""In which two versions are asked in turns."""


class Unusable(RuntimeError):  # noqa: N818 - reads as a sentence where it is raised
    """A version that cannot be unpacked, loaded or asked for scores; the message says why."""


@dataclass(frozen=True)
class Package:
    """What a version holds."""

    task: str
    topic: str
    folder: Path
    model: Path
    code: Path
    evidence: Path
    gates: dict[str, Any]


@contextmanager
def unpack(version: Any) -> Iterator[Package]:
    """Fetch a version from the registry into a scratch folder. Raises Unusable where it lacks
    something."""
    import mlflow

    connect()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            whole = Path(
                mlflow.artifacts.download_artifacts(
                    f"models:/{version.name}/{version.version}", dst_path=f"{scratch}/version"
                )
            )
            (whole / META).unlink(missing_ok=True)
            flavor = mlflow.models.Model.load(str(whole)).flavors["python_function"]
            folders = {
                name: inside(whole, flavor["artifacts"][name]["path"])
                for name in ("model", "code", "evidence")
            }
            gates = json.loads((folders["evidence"] / "gates.json").read_text())
            package = Package(
                version.name, flavor["config"]["topic"], whole, gates=gates, **folders
            )
        except Exception as error:  # whatever became of its files; nothing of them has run
            words = str(error).strip().splitlines() or [type(error).__name__]
            raise Unusable(
                f"version {version.version} of {version.name} is not whole: {words[0]}"
            ) from error
        yield package


def inside(folder: Path, name: str) -> Path:
    """A path of a downloaded package, which must not lead out of it."""
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise Unusable(f"the package names a path outside itself: {name}")
    return path


def check_bytes(version: Any, package: Package) -> list[str]:
    """What is not as it was when it was judged. Nothing of the package has run by then."""
    tags = version.tags
    if "hour9.package_md5" not in tags:
        return [f"it was registered without a hash; hour9 register {package.task} --rebuild"]
    found = {
        "package": package.folder,
        "model": package.model,
        "code": package.code,
        "evidence": package.evidence / "evidence.parquet",
        "gates": package.evidence / "gates.json",
    }
    broken = [
        f"its {what} is not what was registered (md5 {dvc_md5(path)}, registered {wanted})"
        for what, path in found.items()
        if (wanted := tags.get(f"hour9.{what}_md5")) != dvc_md5(path)
    ]
    if package.gates["verdict"] != tags.get("hour9.verdict"):
        said = tags.get("hour9.verdict")
        broken.append(f"its tag says {said}, its gates said {package.gates['verdict']}")
    return broken


def load(version: Any) -> Any:
    """The version behind MLflow's interface, from the very files whose hashes were checked. Raises
    Unusable."""
    import mlflow

    with ExitStack() as opened:
        package = opened.enter_context(unpack(version))
        if broken := check_bytes(version, package):
            raise Unusable(f"{version.name}/{version.version}: " + "; ".join(broken))
        model = mlflow.pyfunc.load_model(str(package.folder))
        weakref.finalize(model, opened.pop_all().close)  # it may read more of its files later
    return model


def score(package: Package, tables: dict[str, pd.DataFrame]) -> pd.Series:
    """Score by case, from the version's own weights and code. Raises Unusable where it fails."""
    with own_task(package) as task:
        scores = task.score(package.model, tables)
    return scores.set_index("case")["score"]


def answer_times(
    package: Package, reference: Package, tables: dict[str, pd.DataFrame]
) -> pd.DataFrame:
    """Seconds that each takes for the same few requests, a row a round; who is first alternates."""
    with own_task(package) as task:
        requests = task.example(tables)
        ours = task.answer(package.model)
    with own_task(reference) as task:
        theirs = task.answer(reference.model)
    answering = {"seconds": ours, "reference": theirs}
    for answer in answering.values():  # warm up
        timed(answer, requests)
    rows = []
    for number in range(ROUNDS):
        turns = sorted(answering, reverse=bool(number % 2))
        rows.append({name: timed(answering[name], requests) for name in turns})
    return pd.DataFrame(rows)


def timed(answer: Callable[[pd.DataFrame], pd.DataFrame], requests: pd.DataFrame) -> float:
    """Seconds until the answer is there. Raises Unusable where none comes."""
    started = time.perf_counter()
    try:
        answer(requests)
    except Exception as error:  # its own code, of whatever age
        raise Unusable(f"{type(error).__name__}: {error}") from error
    return time.perf_counter() - started


@contextmanager
def own_task(package: Package) -> Iterator[Any]:
    """The task of the version's own code. Raises Unusable for whatever goes wrong inside."""
    from hour9.registry.model import code_of

    try:
        with code_of(package.code):
            yield importlib.import_module(f"hour9.{package.topic}.{package.task}").TASK
    except Exception as error:  # its own code, of whatever age
        raise Unusable(f"{type(error).__name__}: {error}") from error
