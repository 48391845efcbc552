"""Promotion: which version of a task is `champion`, and why. It refuses unless all agree.

A promotion is written to the journal first, then the aliases follow. A crash between the two is
repaired by the next call: `settle` moves the aliases to what the journal's last entry says.
"""

from __future__ import annotations

import getpass
import os
import sys
from dataclasses import asdict
from typing import Any

from hour9.gates.verdict import Verdict
from hour9.params import STANDING, read_params
from hour9.registry import journal
from hour9.registry.examination import Examination, Refused, examine, get_version, whole
from hour9.registry.journal import Entry
from hour9.registry.packages import check_bytes
from hour9.registry.tracking import connect
from hour9.registry.versions import CHALLENGER, CHOSEN, aliases

CHAMPION, PREVIOUS = "champion", "previous"
OURS = (CHALLENGER, CHAMPION, PREVIOUS)
FORCED = "hour9.forced"  # tag of a version: why a person promoted it against the gates


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
        raise Refused(
            f"{task} has no challenger: no candidate passed its gates, or somebody took it away; "
            "see hour9 status"
        )
    number = str(get_version(task, number).version)  # MLflow takes " 02", too
    if last and number == last.champion:
        raise Refused(f"{task} version {number} is the champion already")
    examined = examine_in_order(task, number, last)
    if examined.broken:
        raise Refused(f"{task} version {number}: " + "; ".join(examined.broken))
    return last, examined


def examine_in_order(task: str, number: str, last: Entry | None) -> Examination:
    """What speaks for and against a version; a broken journal speaks against any."""
    examined = examine(task, number, last)
    examined.objections.extend(new_breaks(task))
    return examined


def new_breaks(task: str) -> list[str]:
    """Where the journal is broken, as far as no person has gone on in spite of it."""
    known = {said for entry in journal.entries(task) for said in entry.objections}
    found = [f"the journal is broken: {line}" for line in journal.breaks(task)]
    return [line for line in found if line not in known]


def preview(task: str, number: str = "") -> str:
    """What a person should see before a yes, as Markdown."""
    last, examined = consider(task, number)
    champion = f"champion is version {last.champion}" if last else "there is no champion yet"
    lines = [
        f"## {task}: version {examined.version.version} "
        f"({examined.version.tags['hour9.candidate']}); {champion}",
        *(f"- **{objection}**" for objection in examined.objections),
        "",
        "| gate | verdict | why | value | interval | threshold | cases |",
        "|---|---|---|---|---|---|---|",
        *map(row, examined.verdicts),
    ]
    return "\n".join(lines)


def row(verdict: Verdict) -> str:
    """A gate as a line of a Markdown table."""
    value = "–" if verdict.value is None else f"{verdict.value:.4g}"
    low, high = verdict.interval or (None, None)
    interval = "–" if low is None else f"[{low:.4g}, {high:.4g}]"
    why = verdict.why.replace("|", "/")
    cells = (verdict.name, verdict.verdict, why, value, interval, verdict.threshold, verdict.n)
    return "| " + " | ".join(map(str, cells)) + " |"


def rollback(task: str, reason: str = "", who: str = "") -> Entry:
    """Make `previous` the champion again; the two change places.

    A rollback that was cut off between journal and aliases is only finished. Raises Refused where
    its bytes, or its tags, are not those that the journal says were promoted; and where the journal
    is broken and no reason is given.
    """
    entry, applied = journal_end(task) or (None, True)
    last = settle(task)
    if entry and not applied and entry.action == "rollback":
        return entry
    if last is None or last.previous is None:
        raise Refused(f"{task} has no previous champion to go back to; see hour9 journal {task}")
    version = get_version(task, last.previous)
    with whole(version) as package:
        broken = check_bytes(version, package)
    if was := next(
        (e for e in reversed(journal.entries(task)) if e.champion == last.previous), None
    ):
        wrong = [what for what, md5 in was.hashes.items() if md5 != hashes_of(version)[what]]
        broken += [f"its {what} is not what entry {was.number} promoted" for what in wrong]
    if broken:
        raise Refused(f"{task} version {version.version}: " + "; ".join(broken))
    objections = new_breaks(task)
    if objections and not reason:
        raise Refused("; ".join(objections) + f'\nhour9 rollback {task} --reason "…" goes on')
    examined = Examination(version, [], objections=objections)
    return enter(examined, last, "rollback", reason or "no reason given", who)


def guard(task: str, who: str = "guard") -> str:
    """Reconcile what was done by hand in the MLflow UI; what was done, in words, or nothing.

    A champion set by hand stays, and is entered in the journal, if the gates let it through; any
    other alias is put back, and the version that had it says so. People's own aliases are theirs.
    """
    said = [*take_lookalikes(task), put_challenger_back(task), follow_journal(task, who)]
    return "\n".join(filter(None, said))


def take_lookalikes(task: str) -> list[str]:
    """Take away what reads as one of our aliases and is none, as `Champion` does."""
    client, said = connect(), []
    for name, number in client.get_registered_model(task).aliases.items():
        if name not in OURS and name.casefold() in OURS:
            client.delete_registered_model_alias(task, name)
            said.append(tell(task, str(number), f"{name} was set on this version and taken away"))
    return said


def put_challenger_back(task: str) -> str:
    """Set `challenger` as `register` last chose it; left alone where no choice was noted."""
    model = connect().get_registered_model(task)
    found, chosen = str(model.aliases.get(CHALLENGER, "")), model.tags.get(CHOSEN)
    if chosen is None:
        said = f"{task}: nothing says whether {CHALLENGER} was set by hand; hour9 register {task}"
        return said if found else ""
    wanted = if_there(task, chosen)
    if found == wanted:
        return ""
    put_alias(task, CHALLENGER, wanted)
    if not found:
        return f"{task}: {CHALLENGER} was taken from version {wanted} by hand and put back"
    chose = f"version {wanted}" if wanted else "none that is there"
    said = f"{CHALLENGER} was set on this version by hand and put back: register chose {chose}"
    return tell(task, found, said)


def follow_journal(task: str, who: str) -> str:
    """Judge a `champion` that was set by hand; have both aliases follow the journal again."""
    entry, applied = journal_end(task) or (None, True)
    named = aliases(task)
    found = {name: named.get(name, "") for name in (CHAMPION, PREVIOUS)}
    wanted = aliases_of(entry)
    if applied and found[CHAMPION] and found[CHAMPION] != wanted[CHAMPION]:
        return adopt(task, found[CHAMPION], entry, who)
    if applied and found == {name: if_there(task, number) for name, number in wanted.items()}:
        return lost_champion(task)
    settle(task, forget=True)
    return lost_champion(task) or f"{task}: the aliases follow the journal again"


def lost_champion(task: str) -> str:
    """That the journal's champion is no more, and what to do; nothing where all is well."""
    last = journal_end(task)
    if last is None or exists(task, last[0].champion):
        return ""
    back = f"hour9 rollback {task}, or " if last[0].previous else ""
    gone = f"version {last[0].champion}, the champion by the journal, was deleted"
    return f"{task}: {gone}; {back}hour9 promote {task} makes another the champion"


def adopt(task: str, number: str, last: Entry | None, who: str) -> str:
    """Take over a champion that was set by hand, or put the alias back."""
    try:
        examined = examine_in_order(task, number, last)
        wrong = [*examined.broken, *examined.objections]
    except Refused as error:
        wrong = [str(error)]
    if not wrong:
        entry = enter(examined, last, "adopt", "set by hand in the registry; the gates pass", who)
        return f"{task}: {entry}"
    settle(task, forget=True)
    why = "; ".join(wrong)
    return tell(task, number, f"{CHAMPION} was set on this version by hand and put back: {why}")


def tell(task: str, number: str, said: str) -> str:
    """Write on a version what became of its alias, and say it."""
    client = connect()
    client.set_model_version_tag(task, number, "hour9.put_back", said[:4000])
    known = client.get_model_version(task, number).description
    client.update_model_version(task, number, "\n\n".join(filter(None, (known, said))))
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
        objections=examined.objections,
        verdicts=[asdict(verdict) for verdict in examined.verdicts],
        hashes=hashes_of(version),
    )
    entry = journal.append(entry, last)
    settle(task)
    if entry.forced:
        connect().set_model_version_tag(task, number, FORCED, f"{entry.who}: {why}")
    copy_to_run(entry, version.run_id)
    return entry


def copy_to_run(entry: Entry, run_id: str) -> None:
    """The entry as an artifact of the training, for who looks there. It is done without, too."""
    from mlflow.exceptions import MlflowException

    try:
        connect().log_text(run_id, entry.text(), f"journal/{entry.number:04d}.json")
    except (MlflowException, OSError) as error:
        said = f"{entry.task}: done, but run {run_id} takes no copy of the journal's entry: {error}"
        print(said, file=sys.stderr)


def hashes_of(version: Any) -> dict[str, str]:
    """What the version's tags say of its bytes."""
    return {k: version.tags.get(f"hour9.{k}_md5", "") for k in ("data", "model", "evidence")}


def settle(task: str, forget: bool = False) -> Entry | None:
    """Move the aliases to where the journal's last entry wants them; that entry.

    Only what was not applied yet, unless `forget`: then whatever was set by hand goes, too. Goes
    on until no entry came while it worked: a slow writer that may have undone a later entry's
    aliases sets them again, though they were applied once.
    """
    while True:
        last = journal_end(task)
        entry, applied = last if last else (None, False)
        if entry is None or (applied and not forget):
            if entry is None and forget:
                for name in aliases_of(None):
                    put_alias(task, name, "")
            return entry
        for name, number in aliases_of(entry).items():
            put_alias(task, name, number)
        journal.mark_applied(entry)
        now = journal_end(task)
        if now and now[0].number == entry.number:
            return entry
        forget = True


def put_alias(task: str, name: str, number: str) -> None:
    """Set an alias, or take it away where there is no number, or its version was deleted."""
    if alias(task, name) == number:
        return
    STANDING.unlink(missing_ok=True)  # it names the aliases
    if if_there(task, number):
        connect().set_registered_model_alias(task, name, number)
    else:
        connect().delete_registered_model_alias(task, name)


def if_there(task: str, number: str) -> str:
    """A version's number, or nothing where it was deleted."""
    return number if number and exists(task, number) else ""


def exists(task: str, number: str) -> bool:
    """Whether the registry still has a version."""
    return bool(connect().search_model_versions(f"name = '{task}' and version_number = {number}"))


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
    return aliases(task).get(name, "")


def with_models() -> list[str]:
    """The tasks of params.yaml that the registry knows."""
    search = connect().search_registered_models
    return [task for task in read_params()["tasks"] if search(f"name = '{task}'")]


def verdict_line(examined: Examination) -> str:
    """Every gate's word, in one line."""
    return ", ".join(f"{verdict.name} {verdict.verdict}" for verdict in examined.verdicts)
