"""From the registry back to DVC's cache: what a version holds, where the cache lost it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hour9 import dag, lockfile
from hour9.registry.lineage import dvc_md5, file_md5
from hour9.registry.packages import Unusable, check_bytes, unpack
from hour9.registry.reproduce import find

OF_CANDIDATE = ("train", "evaluate", "judge")


def restore(address: str) -> tuple[list[str], str]:
    """Put the version's model, evidence and report into the cache; the hashes that it lacked, and
    the command that brings the files back. Raises Unusable where the package's bytes changed."""
    version = find(address)
    with unpack(version) as package:
        if broken := check_bytes(version, package):
            raise Unusable(f"{address}: " + "; ".join(broken))
        objects = of(package.model)
        for path in package.evidence.iterdir():
            objects |= of(path)
    objects |= of_report(version)
    candidate = version.tags["hour9.candidate"]
    stages = " ".join(f"{kind}@{candidate}" for kind in OF_CANDIDATE)
    return dag.put_in_cache(objects), f"{before_checkout(version)}dvc checkout {stages}"


def before_checkout(version: Any) -> str:
    """What has to come first where dvc.lock names another model than the version's."""
    stage = f"train@{version.tags['hour9.candidate']}"
    outs = lockfile.entries([stage])[stage]["outs"] if stage in lockfile.names() else []
    if version.tags["hour9.model_md5"] in {out["md5"] for out in outs}:
        return ""
    if version.tags["hour9.git_dirty"] == "false":
        return f"git checkout {version.tags['hour9.git_commit']} -- dvc.lock, then "
    return "no commit's dvc.lock is known to name them; with one that does: "


def of(path: Path) -> dict[str, bytes]:
    """A file, or a folder with its list, as DVC's cache holds them."""
    if path.is_file():
        return {file_md5(path): path.read_bytes()}
    files = {file.relative_to(path).as_posix(): file for file in path.rglob("*") if file.is_file()}
    names = [{"md5": file_md5(files[name]), "relpath": name} for name in sorted(files)]
    contents = {entry["md5"]: files[entry["relpath"]].read_bytes() for entry in names}
    return {**contents, dvc_md5(path): json.dumps(names, sort_keys=True).encode()}


def of_report(version: Any) -> dict[str, bytes]:
    """What else was reported of the candidate, its pictures too; nothing without its run."""
    import mlflow
    from mlflow.exceptions import MlflowException

    objects: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as scratch:
        try:
            report = mlflow.artifacts.download_artifacts(
                run_id=version.run_id, artifact_path="report", dst_path=scratch
            )
        except MlflowException:
            return {}
        for path in Path(report).iterdir():
            objects |= of(path)
    return objects
