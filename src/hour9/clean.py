"""Clean: what nothing will ask for again, named before it goes.

Expired checkpoints are those that no training of today's settings, data and code would go on from.
A cached object is unreferenced where neither the files here, nor a commit of any branch, nor a
registered version names it. What may be others' too is left alone: a cache outside this checkout,
a registry on a server.
Of the versions that were never promoted, and that neither have an alias nor are today's results,
the artifacts go; their tags, which say what was judged, stay.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from hour9.params import read_params
from hour9.wording import some


@dataclass(frozen=True)
class Freed:
    """One thing that would go."""

    kind: str
    name: str
    size: int
    """Bytes."""
    remove: Callable[[], None]


def everything() -> list[Freed]:
    """All that may go, from this checkout and from the registry."""
    return [*checkpoints(), *cache(), *artifacts()]


def checkpoints() -> list[Freed]:
    """Checkpoints of settings, data or code that are no more."""
    from hour9.train import CHECKPOINTS

    found = []
    for folder in sorted(CHECKPOINTS.glob("*/*")):
        if folder.name != key_today(folder.parent.name):
            name = f"{folder.parent.name}/{folder.name[:8]}"
            found.append(Freed("checkpoint", name, size_of(folder), remover(folder)))
    return found


def key_today(candidate: str) -> str:
    """The checkpoint that the candidate's training would go on from; none for one that is gone."""
    from hour9.engine.settings import load_settings
    from hour9.train import inputs_key

    if candidate not in read_params()["candidates"]:
        return ""
    return inputs_key(load_settings(candidate))


def cache() -> list[Freed]:
    """DVC's objects that nothing names."""
    from hour9 import dag

    folder = dag.cache_folder()
    if not folder.is_relative_to(Path.cwd().resolve()):
        print(f"the cache {folder} may be other checkouts' too, and is left alone")
        return []
    return [
        Freed("cache", path.parent.name + path.name, path.stat().st_size, remover(path))
        for path in dag.unreferenced(registered())
    ]


def registered() -> set[str]:
    """The hashes that any version names, of tasks that params.yaml no longer has too."""
    from hour9.registry.tracking import all_pages, connect

    tags = [f"hour9.{what}_md5" for what in ("data", "model", "evidence", "gates")]
    versions = all_pages(connect().search_model_versions)
    return {version.tags.get(tag, "") for version in versions for tag in tags}


def artifacts() -> list[Freed]:
    """The packages of versions that were never in charge, and are not today's."""
    from hour9.registry.journal import entries
    from hour9.registry.tracking import address, connect, is_embedded
    from hour9.registry.versions import by_identity, versions

    if not is_embedded():
        print(f"the registry {address()} may hold other people's results, and is left alone")
        return []
    found = []
    for task in sorted(read_params()["tasks"]):
        if not (known := versions(task)):
            continue
        promoted = {entry.champion for entry in entries(task)}
        aliases = connect().get_registered_model(task).aliases.values()
        kept = promoted | {str(number) for number in aliases}
        newest = by_identity(known)
        for version in known:
            rebuilt = newest[version.tags["hour9.identity"]] is not version
            if str(version.version) in kept or (not rebuilt and may_be_today(version)):
                continue
            # With nothing stored too: a clean that was killed has yet to say so on the version.
            name = f"{task}/{version.version} ({version.tags['hour9.candidate']})"
            found.append(Freed("artifacts", name, stored(version.source), forget(version)))
    return found


def may_be_today(version: Any) -> bool:
    """Whether it holds what the outs hold now, or would: who knows, where they are not here."""
    from hour9.registry.examination import lie_here
    from hour9.registry.versions import judged

    task, candidate = version.name, version.tags["hour9.candidate"]
    if not lie_here(task, candidate):
        return candidate in read_params()["candidates"]
    return judged(task, candidate).identity == version.tags["hour9.identity"]


def forget(version: Any) -> Callable[[], None]:
    """Delete a version's package from wherever the registry keeps it, and say so on the version."""

    def go() -> None:
        from datetime import date

        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        from hour9.registry.tracking import connect
        from hour9.registry.versions import CLEANED

        get_artifact_repository(version.source).delete_artifacts()
        today = date.today().isoformat()
        connect().set_model_version_tag(version.name, version.version, CLEANED, today)

    return go


def stored(place: str) -> int:
    """The bytes that the registry keeps under an address."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    repository = get_artifact_repository(place)

    def below(path: str | None) -> int:
        files = repository.list_artifacts(path)
        return sum(below(f.path) if f.is_dir else f.file_size or 0 for f in files)

    return below(None)


def remover(path: Path) -> Callable[[], None]:
    """Delete a file or a folder."""
    return lambda: shutil.rmtree(path) if path.is_dir() else path.unlink()


def size_of(folder: Path) -> int:
    """Bytes of all files in it."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def lines(freed: Iterable[Freed]) -> list[str]:
    """What a person reads before anything goes: sums by kind, and what is large or named."""
    freed = list(freed)
    text = []
    for kind in dict.fromkeys(one.kind for one in freed):
        of_kind = [one for one in freed if one.kind == kind]
        megabytes = sum(one.size for one in of_kind) / 1e6
        names = some(of_kind, say=attrgetter("name")) if kind != "cache" else ""
        text.append(f"{kind:<11} {len(of_kind):4}  {megabytes:9.1f} MB  {names}".rstrip())
    return text
