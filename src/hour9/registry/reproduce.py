"""From a version back to the bytes it came from, and from those bytes to the version again."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hour9.params import DATA, MODELS, STATE, read_params
from hour9.registry.lineage import dvc_md5, git
from hour9.registry.packages import check_bytes, unpack
from hour9.registry.tracking import connect

LOCK = "dvc.lock"
IDENTICAL, WITHIN, DIFFERENT = "identical", "within tolerance", "different"


class NotReproducible(RuntimeError):  # noqa: N818 - reads as a sentence where it is raised
    """What the version was made from cannot be had; the message says what is missing."""


def find(address: str) -> Any:
    """The version that `nodes@champion` or `nodes/3` names. Raises NotReproducible for others."""
    from mlflow.exceptions import MlflowException

    task, at, name = address.partition("@")
    task, slash, number = task.partition("/")
    if not (at or slash):
        raise NotReproducible(f"'{address}' names no version; write TASK@ALIAS or TASK/NUMBER")
    try:
        if at:
            version = connect().get_model_version_by_alias(task, name)
        else:
            version = connect().get_model_version(task, number)
    except MlflowException as error:
        raise NotReproducible(f"{address}: {str(error).splitlines()[0]}") from None
    if "hour9.identity" not in version.tags:
        raise NotReproducible(f"{address} was not registered by hour9: nothing is known of it")
    return version


def trace(address: str) -> list[tuple[str, str]]:
    """The chain from a version back to the raw bytes: what, and by which hash it is known."""
    version = find(address)
    tags = {name.removeprefix("hour9."): value for name, value in version.tags.items()}
    settings = json.loads(tags["params"])
    chain = [
        ("version", f"{version.name} {version.version} {', '.join(version.aliases)}".strip()),
        ("verdict", tags["verdict"] + (f", FORCED: {tags['forced']}" if "forced" in tags else "")),
        ("gates", tags["gates_md5"]),
        ("evidence", tags["evidence_md5"]),
        ("model", tags["model_md5"]),
        ("trained by", f"run {version.run_id} on {tags['device']} in {tags['wall_seconds']} s"),
        ("settings", ", ".join(f"{key} {value}" for key, value in settings.items())),
        ("libraries", f"{tags['lock_md5']} (requirements.lock), Python {tags.get('python', '?')}"),
        ("code", tags["git_commit"] + (", with a patch" if tags["git_dirty"] == "true" else "")),
        ("data", tags["data_md5"]),
    ]
    return chain + raw_data(tags)


def raw_data(tags: dict[str, str]) -> list[tuple[str, str]]:
    """What the data was made from: as dvc.lock has it, the commit's or the one that lies here."""
    from ruamel.yaml import YAML

    here = Path(LOCK).read_text() if Path(LOCK).exists() else ""
    for text in (git("show", f"{tags['git_commit']}:{LOCK}"), here):
        lock = YAML(typ="safe", pure=True).load(text)["stages"] if text else {}
        validated = lock.get(f"validate@{tags['task']}", {}).get("outs", [])
        if tags["data_md5"] in [out["md5"] for out in validated]:
            ingested = lock[f"ingest@{tags['task']}"]
            raw = [(f"raw data {out['path']}", out["md5"]) for out in ingested["outs"]]
            source = ingested["params"]["params.yaml"][f"tasks.{tags['task']}.source"]
            root = {dep["path"]: dep["md5"] for dep in ingested["deps"]}.get(source["root"], "")
            return [*raw, ("source", f"{source['kind']} {source['root']} {root}")]
    return [("raw data", f"unknown: no {LOCK} at hand is of that data")]


def reproduce(address: str, say: Callable[[str], None] = print) -> tuple[str, list[str]]:
    """Train the version again, from its own commit, beside this tree: `identical`, `within
    tolerance` (that of the candidate's settings) or `different`, and where it differs."""
    version = find(address)
    tags = {name.removeprefix("hour9."): value for name, value in version.tags.items()}
    with unpack(version) as package, checkout(version, tags) as tree:
        if broken := check_bytes(version, package):
            raise NotReproducible(f"{address}: " + "; ".join(broken))
        candidate, task = tags["candidate"], tags["task"]
        say(f"data and weights of {candidate} at {tags['git_commit'][:12]}")
        dvc(tree, "repro", *needs(tree, candidate))
        if (found := dvc_md5(tree / DATA / task)) != tags["data_md5"]:
            return DIFFERENT, [f"data: {found}, the version was trained on {tags['data_md5']}"]
        say(f"training {candidate} again")
        dvc(tree, "repro", "--single-item", "--force", f"train@{candidate}")
        made = tree / MODELS / task / candidate
        if dvc_md5(made) == tags["model_md5"]:
            return IDENTICAL, []
        tolerance = json.loads(tags["params"]).get("tolerance", 0.0)
        return compare(package.model, made, tolerance)


@contextmanager
def checkout(version: Any, tags: dict[str, str]) -> Iterator[Path]:
    """The version's commit and patch in a folder of their own, on this project's cache."""
    if git("cat-file", "-e", f"{tags['git_commit']}^{{commit}}") is None:
        raise NotReproducible(f"git has no commit {tags['git_commit']} here; git fetch --all")
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch, *Path.cwd().parts[1:])  # as deep as this one: `..` stays in scratch
        git("clone", "--quiet", "--no-checkout", str(Path.cwd()), str(tree))
        git("-C", str(tree), "checkout", "--quiet", "--detach", tags["git_commit"])
        if tags["git_dirty"] == "true":
            apply_patch(version, tags, tree)
        if dvc_md5(tree / "requirements.lock") != dvc_md5(Path("requirements.lock")):
            print("the version was made with other packages: requirements.lock differs")
        (tree / ".venv").symlink_to(sys.prefix)
        local = f"[cache]\n    dir = {Path('.dvc/cache').absolute()}\n    type = copy\n"
        (tree / ".dvc/config.local").write_text(local)
        bring_sources(tree)
        yield tree


def apply_patch(version: Any, tags: dict[str, str], tree: Path) -> None:
    """The changes that no commit held when the version was made."""
    import mlflow

    with tempfile.TemporaryDirectory() as scratch:
        patch = mlflow.artifacts.download_artifacts(
            run_id=version.run_id,
            artifact_path=f"patches/{tags['identity']}.patch",
            dst_path=scratch,
        )
        if Path(patch).read_text() and git("-C", str(tree), "apply", patch) is None:
            raise NotReproducible(f"the patch of version {version.version} does not apply")


def bring_sources(tree: Path) -> None:
    """Sources that no commit holds: those that DVC tracks as the commit has them, the others,
    inside the project or outside, lead to where they are here."""
    params = read_params(tree / "params.yaml")
    sections = [
        *params.get("weights", {}).values(),
        *(t["source"] for t in params["tasks"].values()),
    ]
    for root in map(Path, [params.get("probes", ""), *(section["root"] for section in sections)]):
        if (tree / f"{root}.dvc").exists():
            dvc(tree, "checkout", "--allow-missing", f"{root}.dvc")
        elif root.exists() and not (tree / root).exists():
            (tree / root).parent.mkdir(parents=True, exist_ok=True)
            (tree / root).symlink_to(root.absolute())


def needs(tree: Path, candidate: str) -> list[str]:
    """The stages that a training stands on."""
    params = read_params(tree / "params.yaml")
    if candidate not in params["candidates"]:
        raise NotReproducible(f"params.yaml of that commit has no candidate '{candidate}'")
    section = params["candidates"][candidate]
    parent = Path(section["parent"])
    found = [f"validate@{section['task']}"]
    if parent.parts[:2] == (*DATA.parts, "weights"):
        found.append(f"weights@{parent.name}")
    elif parent.parts[:1] == MODELS.parts:
        found.append(f"train@{parent.name}")
    return found


def dvc(tree: Path, *arguments: str) -> None:
    """Run DVC in the tree, with the tree's own code."""
    env = {
        **os.environ,
        "PYTHONPATH": str(tree / "src"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DVC_SITE_CACHE_DIR": str(tree / STATE / "dvc"),
        "DVC_NO_ANALYTICS": "1",
    }
    for name in ("MLFLOW_TRACKING_URI", "HOUR9_WARM", "HOUR9_LOGS"):
        env.pop(name, None)
    (tree / STATE / "dvc").mkdir(mode=0o700, parents=True, exist_ok=True)
    command = [str(Path(sys.executable).with_name("dvc")), *arguments]
    done = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True)
    if done.returncode:
        words = (done.stdout + done.stderr).strip().splitlines()[-12:]
        raise NotReproducible(f"dvc {' '.join(arguments)} failed\n" + "\n".join(words))


def compare(first: Path, second: Path, tolerance: float = 0.0) -> tuple[str, list[str]]:
    """Two model folders, file by file: the outcome, and what differs by how much."""
    files = [(f, path) for f in (first, second) for path in f.rglob("*") if path.is_file()]
    names = {path.relative_to(folder).as_posix() for folder, path in files}
    apart = [line for name in sorted(names) for line in differences(name, first, second)]
    found = [f"{what} differs by {by:.3g}" if by < math.inf else what for what, by in apart]
    near = all(by <= tolerance for _, by in apart)
    return WITHIN if near else DIFFERENT, found


def differences(name: str, first: Path, second: Path) -> Iterator[tuple[str, float]]:
    """What is not the same in one file of two folders, and how far apart it is."""
    from safetensors.numpy import load_file

    one, two = first / name, second / name
    if not (one.exists() and two.exists()):
        yield f"{name}: only in {'the version' if one.exists() else 'the new model'}", math.inf
    elif dvc_md5(one) != dvc_md5(two):
        found: list[tuple[str, float]] = []
        if one.suffix == ".safetensors":
            found += numbers_apart(name, load_file(one), load_file(two))
        elif one.suffix == ".json":
            values = (flat(json.loads(path.read_text())) for path in (one, two))
            found += numbers_apart(name, *values)
        yield from found or [(f"{name}: other bytes", math.inf)]


def numbers_apart(
    name: str, one: dict[str, Any], two: dict[str, Any]
) -> Iterator[tuple[str, float]]:
    """Named values that differ: norm of the difference over the norm of the first."""
    for key in sorted(one.keys() | two.keys()):
        a, b = (np.asarray(side.get(key)) for side in (one, two))
        if key not in one or key not in two or a.shape != b.shape:
            yield f"{name}: {key} has another shape", math.inf
        elif a.dtype.kind in "iuf" and b.dtype.kind in "iuf":
            far = float(np.linalg.norm(a.astype(float) - b))
            if far != 0.0:  # a NaN, too
                yield f"{name}: {key}", far / (float(np.linalg.norm(a)) or far)
        elif (a != b).any():
            yield f"{name}: {key} has another value", math.inf


def flat(value: Any, name: str = "") -> dict[str, Any]:
    """The single values of a JSON document, each by its path."""
    if not isinstance(value, dict | list):
        return {name: value}
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    return {k: v for key, below in inner for k, v in flat(below, f"{name}/{key}").items()}
