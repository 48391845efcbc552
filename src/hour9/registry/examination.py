"""What speaks for and against a version now: its bytes, its age, its gates, the model in charge."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any

from hour9.gates import AT_PROMOTION
from hour9.gates.verdict import PASS, Verdict
from hour9.params import DATA, MODELS, REPORTS, UnknownName, read_params
from hour9.registry.journal import Entry
from hour9.registry.lineage import dvc_md5, git_state
from hour9.registry.packages import Package, Unusable, answer_times, check_bytes, score, unpack
from hour9.registry.tracking import connect
from hour9.registry.versions import JUDGED, judged, versions_by_identity
from hour9.task import Tables, only, read_tables

ONE = threading.Lock()
"""Versions are scored by their own code, and `sys.modules` belongs to all threads of a process: one
of them at a time examines, so that no other's `import hour9` finds a version's."""


class Refused(RuntimeError):  # noqa: N818 - reads as a sentence where it is raised
    """The version is not let through; the message says by what, and what to do."""


class NoSuchVersion(Refused, UnknownName):
    """There is nothing to let through."""


@dataclass(frozen=True)
class Examination:
    """What `promote` found about a version."""

    version: Any
    verdicts: list[Verdict]
    broken: list[str] = field(default_factory=list)
    """Bytes that are not those that were judged: no reason overrides it."""
    objections: list[str] = field(default_factory=list)
    """What speaks against it; a person's reason overrides it, and is kept for ever."""


def examine(task: str, number: str, last: Entry | None) -> Examination:
    """Judge a version as it is now; what only now can be judged is written to its tags."""
    with ONE:
        return examine_alone(get_version(task, number), last)


def examine_alone(version: Any, last: Entry | None) -> Examination:
    """What `examine` does, while no other thread does it."""
    with whole(version) as package:
        broken = check_bytes(version, package)
        if broken:
            return Examination(version, [], broken)
        verdicts = [Verdict(**gate) for gate in package.gates["gates"]]
        fresh = judge_now(package, None if in_charge_already(version, last) else last)
        objections = staleness(version, verdicts)  # last: of the data that it was judged on
    for verdict in (*verdicts, *fresh):
        if verdict.verdict != PASS:
            objections.append(f"{verdict.name} {verdict.verdict}: {verdict.why}")
    if not verdicts:
        objections.append("no gate was asked")
    text = json.dumps([asdict(verdict) for verdict in fresh])
    connect().set_model_version_tag(version.name, version.version, JUDGED, text)
    return Examination(version, [*verdicts, *fresh], [], objections)


@contextmanager
def whole(version: Any) -> Iterator[Package]:
    """`unpack`, of a version that is to be let through: Refused where it lacks something."""
    try:
        with unpack(version) as package:
            yield package
    except Unusable as error:
        raise Refused(f"{version.name} version {version.version}: {error}") from error


def in_charge_already(version: Any, last: Entry | None) -> bool:
    """Whether these very bytes are the champion: a version rebuilt after a loss is no rival."""
    hashes = last.hashes if last else {}
    return bool(hashes) and all(version.tags[f"hour9.{k}_md5"] == v for k, v in hashes.items())


def get_version(task: str, number: str) -> Any:
    """A version that hour9 made. Raises Refused for other people's, and where there is none."""
    from mlflow.exceptions import MlflowException

    try:
        version = connect().get_model_version(task, number)
    except MlflowException:
        known = sorted(int(v.version) for v in connect().search_model_versions(f"name = '{task}'"))
        raise NoSuchVersion(f"{task} has no version {number}; there are {known}") from None
    if "hour9.identity" not in version.tags:
        raise Refused(f"{task} version {number} was not registered by hour9: nothing judged it")
    return version


# What was judged once: does it still hold?


def staleness(version: Any, verdicts: list[Verdict]) -> list[str]:
    """Where the version is not of today's data, settings, thresholds or code."""
    task, tags = version.name, version.tags
    candidate = tags["hour9.candidate"]
    data, section = DATA / task, read_params()["candidates"].get(candidate)
    found = []
    if not data.exists():
        found.append(f"{data} is not here to compare with; hour9 run --task {task}, or dvc pull")
    elif dvc_md5(data) != tags["hour9.data_md5"]:
        found.append("stale: it was judged on other data than data/ now holds")
    if section is None:
        found.append(f"stale: params.yaml has no candidate {candidate} any more")
    elif json.loads(tags["hour9.params"]) != section:
        found.append("stale: params.yaml has other settings for its candidate now")
    if other := other_thresholds(task, verdicts):
        found.append(f"stale: params.yaml now asks otherwise for {', '.join(other)}")
    if not found:
        found += other_code(version)
    if tags.get("hour9.git_dirty") != "false" and not vouched(version):
        found.append("it was made from a tree with changes that no commit holds")
    return found


def other_thresholds(task: str, verdicts: list[Verdict]) -> list[str]:
    """The gates that were asked with another threshold than today's, or not at all."""
    today = {
        name: limit
        for name, limit in read_params()["tasks"][task]["thresholds"].items()
        if limit is not None and name not in AT_PROMOTION
    }
    then = {verdict.name: verdict.threshold for verdict in verdicts}
    return sorted(name for name in today | then if today.get(name) != then.get(name))


def other_code(version: Any) -> list[str]:
    """Whether today's code makes, or would make, other bytes of the same data and settings."""
    task, candidate = version.name, version.tags["hour9.candidate"]
    if not lie_here(task, candidate):
        back = f"dvc pull, or hour9 run --candidate {candidate}"
        return [f"its outs are not here, to tell whether the code has changed; {back}"]
    if judged(task, candidate).identity != version.tags["hour9.identity"]:
        return ["stale: the same settings have other results now, so the code has changed"]
    if stages := stale_stages(candidate):
        return [
            f"stale: DVC would run {', '.join(stages)} again; hour9 run --candidate {candidate}"
        ]
    return []


def lie_here(task: str, candidate: str) -> bool:
    """Whether the candidate's outs are here to compare with."""
    report = REPORTS / task / candidate
    made = MODELS / task / candidate, report / "evidence.parquet", report / "gates.json"
    return all(out.exists() for out in (DATA / task, *made))


def stale_stages(candidate: str) -> list[str]:
    """What DVC would run again of a candidate, and of all that it stands on."""
    from hour9 import dag

    return [*dag.stale([f"judge@{candidate}"])]


def vouched(version: Any) -> bool:
    """Whether the commit that is checked out makes these very bytes; if so, the version says it.

    The changes may have been committed since. Then nothing is stale, and the outs are the same.
    """
    tags, state = version.tags, git_state()
    candidate = tags["hour9.candidate"]
    if state["git_dirty"] != "false" or candidate not in read_params()["candidates"]:
        return False
    if not lie_here(version.name, candidate):
        return False
    if judged(version.name, candidate).identity != tags["hour9.identity"]:
        return False
    if stale_stages(candidate):
        return False
    for name, value in state.items():
        connect().set_model_version_tag(version.name, version.version, f"hour9.{name}", value)
    return True


# What can only be judged now


def judge_now(package: Package, last: Entry | None) -> list[Verdict]:
    """The version beside the champion of this moment, and beside the task's reference."""
    section = read_params()["tasks"][package.task]
    limit = section["thresholds"].get("latency")
    tables = cache(lambda: tables_of(package.task))  # read where a gate asks for them, once
    found = []
    if last is not None:
        found.append(beside("champion", last.champion, package, tables, 0.0, compared))
    if limit is not None:
        reference = of_today(package.task, section["reference"])
        found.append(beside("latency", reference, package, tables, limit, answer_times))
    return found


def tables_of(task: str) -> Tables:
    """What data/ holds of a task now. Raises Unusable, OSError or ValueError."""
    tables = read_tables(DATA / task)
    if "cases" not in tables:
        raise Unusable(f"{DATA / task} holds no cases")
    return tables


def beside(
    gate: str,
    number: str,
    ours: Package,
    tables: Callable[[], Tables],
    limit: float,
    measure: Callable[..., Any],
) -> Verdict:
    """A gate over what is measured beside another version; a hold where that cannot be done."""
    try:
        today = tables()
        other = get_version(ours.task, number)
        with unpack(other) as package:
            if broken := check_bytes(other, package):
                raise Unusable("; ".join(broken))
            return AT_PROMOTION[gate](measure(ours, package, today), limit)
    except (Refused, Unusable, OSError, ValueError) as error:  # of the tables
        return Verdict.hold(gate, f"version {number} cannot be compared: {error}", limit)


def compared(package: Package, champion: Package, tables: Tables) -> Any:
    """Both scored on today's test cases, each by its own code."""
    asked = only(tables, tables["cases"]["split"] == "test")
    cases = asked["cases"]
    rivals = cases["case"].map(score(champion, asked))
    if lost := int(rivals.isna().sum()):
        raise Unusable(f"it gives {lost} of the cases no score")
    return cases.assign(score=cases["case"].map(score(package, asked)), champion=rivals)


def of_today(task: str, candidate: str) -> str:
    """The candidate's version that the outs are, where they are here; else its last whole one."""
    known = versions_by_identity(task)
    if lie_here(task, candidate) and (found := known.get(judged(task, candidate).identity)):
        return str(found.version)
    its = [int(v.version) for v in known.values() if v.tags["hour9.candidate"] == candidate]
    return str(max(its, default="of the reference"))
