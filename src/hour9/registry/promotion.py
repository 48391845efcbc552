"""Promotion: which version of a task is `champion`, and why. It refuses unless all agree.

A promotion is written to the journal first, then the aliases follow. A crash between the two is
repaired by the next call: `settle` moves the aliases to what the journal's last entry says.
"""

from __future__ import annotations

import getpass
import json
import os
from dataclasses import asdict, dataclass, field
from typing import Any

from hour9.gates.champion import champion as champion_gate
from hour9.gates.verdict import PASS, Verdict
from hour9.params import DATA, read_params
from hour9.registry import journal
from hour9.registry.journal import Entry
from hour9.registry.lineage import dvc_md5, git_state
from hour9.registry.packages import Unusable, check_bytes, score, unpack
from hour9.registry.tracking import connect
from hour9.registry.versions import CHALLENGER, JUDGED, judged

CHAMPION, PREVIOUS = "champion", "previous"
FORCED = "hour9.forced"  # tag of a version: why a person promoted it against the gates


class Refused(RuntimeError):  # noqa: N818 - reads as a sentence where it is raised
    """The version is not let through; the message says by what, and what to do."""


@dataclass(frozen=True)
class Examination:
    """What `promote` found about a version."""

    version: Any
    verdicts: list[Verdict]
    broken: list[str] = field(default_factory=list)
    """Bytes that are not those that were judged: no reason overrides it."""
    objections: list[str] = field(default_factory=list)
    """What speaks against it; a person's reason overrides it, and is kept for ever."""


def promote(task: str, number: str = "", reason: str = "", who: str = "") -> Entry:
    """Make a version `champion`: the `challenger` unless a number is given.

    Raises Refused where its bytes are not those that were judged, where it is stale, or where a
    gate does not pass; a `reason` overrides all but the first. Raises journal.Overtaken where
    another promotion came between.
    """
    last, examined = consider(task, number)
    if examined.objections and not reason:
        number = examined.version.version
        raise Refused(
            f"{task} version {number} is not promoted: " + "; ".join(examined.objections) + "\n"
            f'to promote it all the same: hour9 promote {task} --version {number} --reason "…"'
        )
    return enter(examined, last, "promote", reason or verdict_line(examined), who)


def consider(task: str, number: str = "") -> tuple[Entry | None, Examination]:
    """The journal's last entry, and what speaks for and against a version now."""
    last = settle(task)
    number = number or alias(task, CHALLENGER)
    if not number:
        raise Refused(f"{task} has no challenger: no candidate passed its gates; see hour9 status")
    if last and number == last.champion:
        raise Refused(f"{task} version {number} is the champion already")
    examined = examine(task, number, last)
    if examined.broken:
        raise Refused(f"{task} version {number}: " + "; ".join(examined.broken))
    return last, examined


def preview(task: str, number: str = "") -> str:
    """What a person should see before a yes, as Markdown."""
    last, examined = consider(task, number)
    champion = f"champion is version {last.champion}" if last else "there is no champion yet"
    lines = [
        f"## {task}: version {examined.version.version} "
        f"({examined.version.tags['hour9.candidate']}); {champion}",
        "| gate | verdict | value | interval | threshold | cases | why |",
        "|---|---|---|---|---|---|---|",
        *map(row, examined.verdicts),
        *(f"- **{objection}**" for objection in examined.objections),
        "",
        "Curves and pictures: `reports/index.html`, and the run's artifacts in MLflow.",
    ]
    return "\n".join(lines)


def row(verdict: Verdict) -> str:
    """A gate as a line of a Markdown table."""
    value = "–" if verdict.value is None else f"{verdict.value:.4g}"
    low, high = verdict.interval or (None, None)
    interval = "–" if low is None else f"[{low:.4g}, {high:.4g}]"
    cells = (verdict.name, verdict.verdict, value, interval, verdict.threshold, verdict.n)
    return "| " + " | ".join(str(cell) for cell in (*cells, verdict.why.replace("|", "/"))) + " |"


def rollback(task: str, reason: str = "", who: str = "") -> Entry:
    """Make `previous` the champion again; the two change places."""
    last = settle(task)
    if last is None or last.previous is None:
        raise Refused(f"{task} has no previous champion to go back to; see hour9 journal {task}")
    version = get_version(task, last.previous)
    with unpack(version) as package:
        if broken := check_bytes(version, package):
            raise Refused(f"{task} version {version.version}: " + "; ".join(broken))
    return enter(Examination(version, []), last, "rollback", reason or "no reason given", who)


def guard(task: str, who: str = "guard") -> str:
    """Reconcile what was done by hand in the MLflow UI; what was done, in words, or nothing.

    A champion set by hand stays, and is entered in the journal, if the gates let it through; any
    other alias is put back, and the version's tag and description say so.
    """
    last = journal_end(task)
    found = {name: alias(task, name) for name in (CHAMPION, PREVIOUS)}
    if last is None or last[1]:
        wanted = aliases_of(last[0] if last else None)
        if found == wanted:
            return ""
        if found[CHAMPION] and found[CHAMPION] != wanted[CHAMPION]:
            return adopt(task, found[CHAMPION], last[0] if last else None, who)
    settle(task)
    return f"{task}: the aliases follow the journal again"


def adopt(task: str, number: str, last: Entry | None, who: str) -> str:
    """Take over a champion that was set by hand, or put the alias back."""
    examined = examine(task, number, last)
    wrong = [*examined.broken, *examined.objections]
    if not wrong:
        entry = enter(examined, last, "adopt", "set by hand in the registry; the gates pass", who)
        return f"{task}: {entry}"
    settle(task, forget=True)
    said = f"{CHAMPION} was set on this version by hand and put back: " + "; ".join(wrong)
    client = connect()
    client.set_model_version_tag(task, number, "hour9.put_back", said[:4000])
    client.update_model_version(task, number, description=said)
    return f"{task} version {number}: {said}"


def enter(examined: Examination, last: Entry | None, action: str, why: str, who: str) -> Entry:
    """Write the journal, tag the version, move the aliases."""
    version, task = examined.version, examined.version.name
    number = str(version.version)
    entry = Entry(
        task=task,
        number=0,
        action=action,
        who=who or os.environ.get("HOUR9_USER") or getpass.getuser(),
        why=why,
        champion=number,
        previous=last.champion if last else None,
        forced=bool(examined.objections),
        verdicts=[asdict(verdict) for verdict in examined.verdicts],
        hashes={k: version.tags.get(f"hour9.{k}_md5", "") for k in ("data", "model", "evidence")},
    )
    entry = journal.append(entry, last)
    client = connect()
    if entry.forced:
        client.set_model_version_tag(task, number, FORCED, f"{entry.who}: {why}")
    client.log_text(version.run_id, entry.text(), f"journal/{entry.number:04d}.json")
    settle(task)
    return entry


def settle(task: str, forget: bool = False) -> Entry | None:
    """Move the aliases to where the journal's last entry wants them; that entry.

    Only what was not applied yet, unless `forget`: then whatever was set by hand goes, too. Goes
    on until no entry came while it worked, so a slow writer does not undo a later one.
    """
    while True:
        last = journal_end(task)
        entry, applied = last if last else (None, False)
        if entry is None or (applied and not forget):
            if entry is None and forget:
                put_alias(task, CHAMPION, "")
            return entry
        for name, number in aliases_of(entry).items():
            put_alias(task, name, number)
        journal.mark_applied(entry)
        now = journal_end(task)
        if now and now[0].number == entry.number:
            return entry


def put_alias(task: str, name: str, number: str) -> None:
    """Set an alias, or take it away where there is no number."""
    if alias(task, name) == number:
        return
    if number:
        connect().set_registered_model_alias(task, name, number)
    else:
        connect().delete_registered_model_alias(task, name)


def journal_end(task: str) -> tuple[Entry, bool] | None:
    """The last entry, and whether the aliases have followed it."""
    found = journal.read(task)
    return found[-1] if found else None


def aliases_of(entry: Entry | None) -> dict[str, str]:
    """Where an entry wants the aliases; empty where there should be none."""
    if entry is None:
        return {CHAMPION: "", PREVIOUS: ""}
    return {CHAMPION: entry.champion, PREVIOUS: entry.previous or ""}


def alias(task: str, name: str) -> str:
    """The version that an alias names now, or nothing."""
    from mlflow.exceptions import MlflowException

    try:
        aliases = connect().get_registered_model(task).aliases
    except MlflowException:
        raise Refused(f"the registry has no model '{task}'; hour9 run --task {task}") from None
    return str(aliases.get(name, ""))


def with_models() -> list[str]:
    """The tasks of params.yaml that the registry knows."""
    search = connect().search_registered_models
    return [task for task in read_params()["tasks"] if search(f"name = '{task}'")]


def get_version(task: str, number: str) -> Any:
    """A version that hour9 made."""
    from mlflow.exceptions import MlflowException

    try:
        version = connect().get_model_version(task, number)
    except MlflowException:
        known = sorted(int(v.version) for v in connect().search_model_versions(f"name = '{task}'"))
        raise Refused(f"{task} has no version {number}; there are {known}") from None
    if "hour9.identity" not in version.tags:
        raise Refused(f"{task} version {number} was not registered by hour9: nothing judged it")
    return version


# Examining


def examine(task: str, number: str, last: Entry | None) -> Examination:
    """All that speaks for and against a version: bytes, staleness, its gates, the champion."""
    version = get_version(task, number)
    with unpack(version) as package:
        broken = check_bytes(version, package)
        if broken:
            return Examination(version, [], broken)
        objections = staleness(version)
        verdicts = [Verdict(**gate) for gate in package.gates["gates"]]
        fresh = [] if last is None else [against_champion(task, version, package, last.champion)]
    for verdict in (*verdicts, *fresh):
        if verdict.verdict != PASS:
            objections.append(f"{verdict.name} {verdict.verdict}: {verdict.why}")
    if not verdicts:
        objections.append("no gate was asked")
    text = json.dumps([asdict(verdict) for verdict in fresh])
    connect().set_model_version_tag(task, number, JUDGED, text)
    return Examination(version, [*verdicts, *fresh], [], objections)


def staleness(version: Any) -> list[str]:
    """Where the version is not of today's data, settings or code."""
    task, tags = version.name, version.tags
    found = []
    data = DATA / task
    if not data.exists():
        found.append(f"{data} is not here to compare with; hour9 run --task {task}, or dvc pull")
    elif dvc_md5(data) != tags["hour9.data_md5"]:
        found.append("stale: it was judged on other data than data/ now holds")
    section = read_params()["candidates"].get(tags["hour9.candidate"])
    if section is not None and json.loads(tags["hour9.params"]) != section:
        found.append("stale: params.yaml has other settings for its candidate now")
    if tags.get("hour9.git_dirty") != "false" and not vouched(version):
        found.append("it was made from a tree with changes that no commit holds")
    return found


def vouched(version: Any) -> bool:
    """Whether the commit that is checked out makes these very bytes; if so, the version says it.

    The changes may have been committed since. Then nothing is stale, and the outs are the same.
    """
    from hour9 import dag

    tags, state = version.tags, git_state()
    if state["git_dirty"] != "false" or tags["hour9.candidate"] not in read_params()["candidates"]:
        return False
    if judged(version.name, tags["hour9.candidate"]).identity != tags["hour9.identity"]:
        return False
    if {f"{kind}@{tags['hour9.candidate']}" for kind in ("train", "evaluate")} & dag.stale().keys():
        return False
    for name, value in state.items():
        connect().set_model_version_tag(version.name, version.version, f"hour9.{name}", value)
    return True


def against_champion(task: str, version: Any, package: Any, champion: str) -> Verdict:
    """Both scored on today's test cases, each by its own code."""
    from hour9.task import read_tables

    tables = read_tables(DATA / task)
    tables["cases"] = tables["cases"].query("split == 'test'").reset_index(drop=True)
    try:
        rival = get_version(task, champion)
        with unpack(rival) as theirs:
            if broken := check_bytes(rival, theirs):
                raise Unusable("; ".join(broken))
            rivals = score(theirs, tables)
    except (Refused, Unusable) as error:
        return Verdict.hold("champion", f"version {champion} cannot be compared: {error}", 0.0)
    evidence = tables["cases"][["case", "split"]].copy()
    evidence["score"] = evidence["case"].map(score(package, tables))
    evidence["champion"] = evidence["case"].map(rivals)
    if evidence["champion"].isna().any():
        lost = int(evidence["champion"].isna().sum())
        return Verdict.hold("champion", f"version {champion} gives {lost} of the cases no score")
    return champion_gate(evidence)


def verdict_line(examined: Examination) -> str:
    """Every gate's word, in one line."""
    return ", ".join(f"{verdict.name} {verdict.verdict}" for verdict in examined.verdicts)
