"""The journal, on a real registry: one winner for each entry, and a chain that shows its breaks."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from hour9.registry import journal
from hour9.registry.journal import APPLIED, ENTRY, Entry, Overtaken, append, breaks, entries

FIRST = Entry("toy", 0, "promote", "anna", "floor pass", "1", None)
WRITER = """
import sys
from hour9.registry import journal, tracking
tracking.STORE = sys.argv[1]
for n in range(int(sys.argv[3])):
    known = journal.entries("toy")
    last = known[-1] if known else None
    entry = journal.Entry("toy", 0, "promote", f"{sys.argv[2]}-{n}", "", str(n), None)
    try:
        journal.append(entry, last)
        print("won", n)
    except journal.Overtaken:
        print("overtaken", n)
"""


def write(client, count: int) -> list[Entry]:
    client.create_registered_model("toy")
    last = None
    for n in range(count):
        last = append(replace(FIRST, champion=str(n + 1)), last)
        journal.mark_applied(last)
    return entries("toy")


def test_what_was_written_is_read_in_order_and_chained(client):
    first, second = write(client, 2)
    assert (first.number, second.number) == (1, 2)
    assert second.before == first.digest
    assert breaks("toy") == []


def test_a_second_writer_of_the_same_entry_is_told_and_writes_nothing(client):
    (last,) = write(client, 1)
    append(replace(FIRST, who="bert"), last)
    with pytest.raises(Overtaken, match=r"nothing was changed.*bert"):
        append(replace(FIRST, who="carl"), last)
    assert [entry.who for entry in entries("toy")] == ["anna", "bert"]


def test_an_answer_lost_on_the_way_does_not_write_twice(client):
    """The client that repeats its call finds its own entry."""
    entry = append(FIRST, None)
    assert append(FIRST, None) == entry
    assert len(entries("toy")) == 1


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (
            lambda c: c.delete_registered_model("toy.journal.0002"),
            "entries 2 to 2 of toy are gone or unreadable",
        ),
        (
            lambda c: c.delete_registered_model("toy.journal.0003"),
            "entries 3 to 3 of toy are gone or unreadable",
        ),
        (lambda c: rewrite(c, 2), "entry 2 of toy was changed after 3 was written"),
        (lambda c: rewrite(c, 3), "entry 3 of toy was changed after it was written"),
    ],
    ids=["taken-out", "cut-off", "changed", "last-changed"],
)
def test_a_break_in_the_chain_is_reported(client, harm, said):
    write(client, 3)
    harm(client)
    assert said in breaks("toy")


def rewrite(client, number: int) -> None:
    """What an attacker, or a helpful colleague, does to an entry."""
    name = f"toy.journal.{number:04d}"
    entry = entries("toy")[number - 1]
    client.set_registered_model_tag(name, ENTRY, replace(entry, who="nobody").text())


def test_of_many_processes_each_entry_has_exactly_one_writer(client, project):
    store = f"sqlite:///{project}/mlruns/mlflow.db"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, store, name, "8"], stdout=subprocess.PIPE, text=True
        )
        for name in ("p", "q", "r")
    ]
    said = "".join(writer.communicate()[0] for writer in writers)
    assert all(writer.returncode == 0 for writer in writers)
    assert said.count("won") == len(entries("toy"))
    assert said.count("won") + said.count("overtaken") == 24
    assert breaks("toy") == []


def test_an_entry_knows_whether_the_aliases_followed(client):
    write(client, 1)
    append(FIRST, entries("toy")[-1])
    assert [applied for _, applied in journal.read("toy")] == [True, False]
    assert APPLIED in client.get_registered_model("toy.journal.0001").tags


def test_two_that_say_the_same_at_the_same_moment_are_still_two(client):
    """Same person, version and second: only one of them wrote the entry."""
    append(replace(FIRST, token="a"), None)
    with pytest.raises(Overtaken):
        append(replace(FIRST, token="b"), None)


@pytest.mark.parametrize("harm", ["{", "numbered by a word"])
def test_an_entry_made_unreadable_is_a_break_and_no_crash(client, harm):
    write(client, 3)
    if harm != "{":
        said = json.loads(entries("toy")[1].text())
        harm = json.dumps(said | {"number": "2"})
    client.set_registered_model_tag("toy.journal.0002", ENTRY, harm)
    client.set_registered_model_tag("toy", journal.HEAD, "many")
    assert breaks("toy") == ["entries 2 to 2 of toy are gone or unreadable"]
    assert [entry.number for entry in entries("toy")] == [1, 3]


def test_an_end_that_was_cut_off_is_not_hidden_by_the_next_entry(client):
    write(client, 3)
    client.delete_registered_model("toy.journal.0003")
    journal.mark_applied(append(FIRST, entries("toy")[-1]))
    assert [entry.number for entry in entries("toy")] == [1, 2, 4]
    assert breaks("toy") == ["entries 3 to 3 of toy are gone or unreadable"]


def test_a_slow_writer_is_overtaken_though_the_next_number_is_free(client):
    """It read the journal before two others wrote."""
    slow = write(client, 1)[-1]
    for _ in range(2):
        journal.mark_applied(append(replace(FIRST, who="bert"), entries("toy")[-1]))
    with pytest.raises(Overtaken, match="another promotion came"):
        append(FIRST, slow)
