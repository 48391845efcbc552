"""dvc.lock, read and rewritten a stage at a time: the bytes are DVC's own."""

import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import YAMLFileCorruptedError, modify_yaml, parse_yaml

from hour9 import lockfile

LOCK = Path(__file__).parents[1] / "dvc.lock"


def rerun(stages: dict[str, Any]) -> None:
    """What DVC does after a stage: its entry is another object, with other hashes."""
    name = list(stages)[len(stages) // 2]
    entry = deepcopy(dict(stages[name]))
    entry["deps"][0]["md5"] = "0" * 32
    entry["params"] = {
        "params.yaml": {"a": {"text": "it's: " + "long " * 40, "none": None, "b": 1e-5}}
    }
    stages[name] = entry


def add(stages: dict[str, Any]) -> None:
    stages["late@one"] = {"cmd": "true", "outs": [{"path": "x", "hash": "md5", "md5": "1" * 32}]}


def turn(stages: dict[str, Any]) -> None:
    order = list(reversed(stages))
    for name in order:
        stages[name] = stages.pop(name)


def drop(stages: dict[str, Any]) -> None:
    del stages[next(iter(stages))]


@pytest.mark.parametrize("change", [rerun, add, turn, drop])
def test_the_bytes_are_those_that_dvc_writes(change: Any, tmp_path: Path) -> None:
    written = []
    for name, modify in [("ours", lockfile.modify), ("dvc", modify_yaml)]:
        copy = tmp_path / name / "dvc.lock"
        copy.parent.mkdir()
        shutil.copy(LOCK, copy)
        with modify(copy) as data:
            change(data["stages"])
        written.append(copy.read_bytes())
    assert written[0] == written[1]
    assert written[0] != LOCK.read_bytes()


def test_a_lock_with_more_than_stages_is_left_to_dvc(tmp_path: Path) -> None:
    lock = tmp_path / "dvc.lock"
    lock.write_text("schema: '2.0'\nstages:\n  a:\n    cmd: x\ndatasets:\n- name: d # mine\n")
    with lockfile.modify(lock) as data:
        data["stages"]["b"] = {"cmd": "y"}
    assert "  b:\n    cmd: y\ndatasets:\n- name: d # mine\n" in lock.read_text()


def test_the_stages_names_are_read_without_dvc(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(LOCK.parent)
    assert lockfile.names() == list(parse_yaml(LOCK.read_text(), LOCK)["stages"])
    monkeypatch.chdir(tmp_path)
    assert lockfile.names() == []


def test_a_missing_lock_is_made(tmp_path: Path) -> None:
    with lockfile.modify(tmp_path / "dvc.lock") as data:
        data |= {"schema": "2.0", "stages": {"a": {"cmd": "x"}}}
    assert (tmp_path / "dvc.lock").read_text() == "schema: '2.0'\nstages:\n  a:\n    cmd: x\n"


def test_an_error_inside_the_block_leaves_the_lock_as_it_was(tmp_path: Path) -> None:
    lock = tmp_path / "dvc.lock"
    shutil.copy(LOCK, lock)
    with pytest.raises(KeyError), lockfile.modify(lock) as data:
        del data["stages"]["none of these"]
    assert lock.read_bytes() == LOCK.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["dvc.lock"]


SHAPES = {
    "lock": LOCK.read_text(),
    "params": LOCK.with_name("params.yaml").read_text(),
    "more": "schema: '2.0'\nstages:\n  a:\n    cmd: x\ndatasets:\n- name: d\n",
    "empty": "",
    "no stages": "schema: '2.0'\nstages:\n",
    "a date": "day: 2026-11-27\n",
    "numbers": "1: 1e-05\nb: [.inf, '1', null, 0o7, yes]\n",
}


@pytest.mark.parametrize("text", SHAPES.values(), ids=SHAPES)
def test_what_is_read_is_what_dvc_reads_and_the_callers_own(text: str) -> None:
    expected = parse_yaml(text, LOCK)
    for _ in range(2):
        found = lockfile.parse_yaml(text, LOCK)
        assert found == expected
        assert list(found) == list(expected)
        found["changed"] = True  # and not for the next reader


def test_after_one_stage_only_its_part_of_the_lock_is_read() -> None:
    text = LOCK.read_text()
    lockfile.parse_yaml(text, LOCK)
    before = lockfile.packed.cache_info().misses
    lockfile.parse_yaml(text.replace("cmd:", "cmd: x", 1), LOCK)
    assert lockfile.packed.cache_info().misses == before + 1


@pytest.mark.parametrize(
    "text", ["a: [1", "schema: '2.0'\nstages:\n  a:\n    b: 1\n  a:\n    b: 2\n"]
)
def test_a_file_that_cannot_be_read_is_named(text: str, tmp_path: Path) -> None:
    with pytest.raises(YAMLFileCorruptedError, match=r"broken\.yaml"):
        lockfile.parse_yaml(text, tmp_path / "broken.yaml")


@pytest.mark.parametrize("head", ["schema: '2.0'\n", "# by hand\nschema: '2.0'\n"])
def test_entries_are_those_of_the_whole_file_and_a_lacking_one_is_no_empty_one(
    head, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    text = LOCK.read_text().replace("schema: '2.0'\n", head)
    Path("dvc.lock").write_text(text)
    wanted = ["train@nodes-gcn", "ingest@nodes"]
    stages = parse_yaml(text, "dvc.lock")["stages"]
    assert lockfile.entries(wanted) == {name: stages[name] for name in wanted}
    with pytest.raises(KeyError, match="train@nobody"):
        lockfile.entries([*wanted, "train@nobody"])
