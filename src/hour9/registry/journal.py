"""The journal of a task's promotions: append-only and hash-chained, in the registry itself.

Entry 7 of task `nodes` is a registered model named `nodes.journal.0007`. MLflow makes a registered
model of one name once and once only. So of any number of writers, on any number of machines,
exactly one writes entry 7, and the others are told. There is no lock to lose and nothing to clean
up after a crash: what stands in the journal has happened, and the aliases follow from its last
entry. See docs/decisions/06-the-journal-is-the-lock.md.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from hour9.registry.tracking import all_pages, connect

ENTRY = "hour9.entry"  # tag of an entry: what it says, as JSON
APPLIED = "hour9.applied"  # tag of an entry: the aliases have followed it
GONE = "gone or unreadable"
HEAD = "hour9.journal"  # tag of the task's model: the last entry, so that a cut-off end shows
FIRST = "0" * 64  # stands before the first entry
LATER = ("objections", "token")  # what older entries do not say, so that their digests hold


class Overtaken(RuntimeError):  # noqa: N818 - reads as a sentence where it is raised
    """Somebody else wrote this entry first; theirs stands, ours was not written."""


@dataclass(frozen=True)
class Entry:
    """One line of the journal: who moved the champion, when, why, from which to which."""

    task: str
    number: int
    action: str
    """promote, rollback, or adopt: an alias set by hand that the gates let through."""
    who: str
    why: str
    champion: str
    """The version that is champion from here on."""
    previous: str | None
    """The version that a rollback goes back to."""
    forced: bool = False
    """Some gate did not pass, or the tree was dirty, and a person promoted all the same."""
    objections: list[str] = field(default_factory=list)
    """What spoke against it, where it was forced."""
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    hashes: dict[str, str] = field(default_factory=dict)
    when: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    before: str = FIRST
    """The digest of the entry before this one."""
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Tells it from another's that says the same in the same second."""

    @property
    def digest(self) -> str:
        """SHA-256 of all that the entry says."""
        return hashlib.sha256(self.text().encode()).hexdigest()

    def text(self) -> str:
        """The entry as it is kept."""
        said = {k: v for k, v in asdict(self).items() if v or k not in LATER}
        return json.dumps(said, sort_keys=True)

    def __str__(self) -> str:
        mark = " FORCED" if self.forced else ""
        back = f", previous {self.previous}" if self.previous else ""
        return (
            f"{self.when} {self.who}: {self.action}{mark}, champion {self.champion}{back}: "
            f"{self.why}"
        )


def prefix(task: str) -> str:
    """What the names of the task's entries start with."""
    return f"{task}.journal."


def entries(task: str) -> list[Entry]:
    """The journal as it stands, oldest first."""
    return [entry for entry, _ in read(task)]


def read(task: str) -> list[tuple[Entry, bool]]:
    """Each entry, and whether the aliases have followed it."""
    wanted = f"name LIKE '{prefix(task)}%'"
    found = [
        (entry, APPLIED in model.tags)
        for model in all_pages(connect().search_registered_models, wanted, max_results=1000)
        if (entry := parse(task, model.name, model.tags.get(ENTRY, "")))
    ]
    return sorted(found, key=lambda pair: pair[0].number)


def parse(task: str, name: str, text: str) -> Entry | None:
    """What an entry says; nothing where somebody made it unreadable, or another entry's."""
    try:
        entry = Entry(**{"token": "", **json.loads(text)})
    except (ValueError, TypeError):
        return None
    known = isinstance(entry.number, int) and name == name_of(task, entry.number)
    return entry if known else None


def name_of(task: str, number: int) -> str:
    """The registered model that is the entry of this number."""
    return f"{prefix(task)}{number:04d}"


def append(entry: Entry, last: Entry | None) -> Entry:
    """Write an entry after `last`, numbered and chained. Raises Overtaken where another was first.

    An answer lost on the way leaves it open whose entry was written; reading it again says so.
    """
    from mlflow.exceptions import MlflowException

    number = next_number(entry.task, last)
    entry = replace(entry, number=number, before=last.digest if last else FIRST)
    name = name_of(entry.task, number)
    try:
        connect().create_registered_model(name, {ENTRY: entry.text()}, description=str(entry))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        winner = connect().get_registered_model(name)
        if winner.tags.get(ENTRY) != entry.text():
            raise Overtaken(
                f"{entry.task}: nothing was changed, another promotion came first: "
                f"{winner.description}"
            ) from None
    return entry


def next_number(task: str, last: Entry | None) -> int:
    """The number after `last`; where entries were cut off, after those, so that the gap stays."""
    number, noted = last.number if last else 0, head(task)[0]
    if noted > number:
        newest = entries(task)[-1:]
        if newest and newest[0].number > number:
            raise Overtaken(f"{task}: nothing was changed, another promotion came: {newest[0]}")
    return max(number, noted) + 1


def mark_applied(entry: Entry) -> None:
    """Note that the aliases have followed, and how long the journal now is."""
    client = connect()
    client.set_registered_model_tag(name_of(entry.task, entry.number), APPLIED, "true")
    client.set_registered_model_tag(entry.task, HEAD, f"{entry.number} {entry.digest}")


def breaks(task: str) -> list[str]:
    """Where the chain does not hold: an entry changed, taken out, or cut off at the end."""
    found, before, number = [], FIRST, 0
    for entry in entries(task):
        number += 1
        if entry.number != number:
            found.append(f"entries {number} to {entry.number - 1} of {task} are {GONE}")
            number = entry.number
        elif entry.before != before:
            found.append(f"entry {number - 1} of {task} was changed after {number} was written")
        before = entry.digest
    noted, digest = head(task)
    if noted > number:
        found.append(f"entries {number + 1} to {noted} of {task} are {GONE}")
    elif noted == number and digest != before:
        found.append(f"entry {number} of {task} was changed after it was written")
    return found


def head(task: str) -> tuple[int, str]:
    """Number and digest of the last entry that the aliases followed; 0 where none is noted."""
    from mlflow.exceptions import MlflowException

    try:
        noted = connect().get_registered_model(task).tags.get(HEAD, "")
    except MlflowException:
        noted = ""
    number, _, digest = noted.partition(" ")
    return (int(number), digest) if number.isdecimal() else (0, FIRST)
