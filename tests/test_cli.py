"""The command line's own small parts; the whole commands are run in test_pipeline.py."""

import getpass
import math
import os
import signal
import sys
from pathlib import Path

import pandas as pd
import pytest
from dvc.exceptions import DvcException
from mlflow.types import ColSpec, DataType, Schema

from hour9 import bring_up, cli, standing
from hour9.ask import as_asked, read_requests, refuse_unknown, show_words, spread
from hour9.pages import names_this_machine
from hour9.params import RECEIPTS, BadSetting
from hour9.registry.journal import Overtaken
from hour9.remote import CLONE


def test_who_reads_no_further_gets_no_traceback_and_other_broken_pipes_are_told(
    project, monkeypatch
):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as unread:
        monkeypatch.setattr(standing, "status", lambda asked: print("a line", file=unread) or 0)
        monkeypatch.setattr(sys, "stdout", unread)
        assert cli.main(["status"]) == 128 + signal.SIGPIPE
    reader, writer = os.pipe()

    def lost(asked):
        raise BrokenPipeError

    with os.fdopen(writer, "w") as read, os.fdopen(reader):
        monkeypatch.setattr(standing, "status", lost)
        monkeypatch.setattr(sys, "stdout", read)
        with pytest.raises(BrokenPipeError):
            cli.main(["status"])


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (bring_up.RunFailed("validate@taxi failed"), cli.NO),
        (Overtaken("another promotion came between"), cli.NO),
        (BadSetting("no key"), cli.MISTAKE),
    ],
)
def test_what_came_to_nothing_ends_otherwise_than_what_could_not_begin(
    error, status, project, monkeypatch, capsys
):
    def run(asked):
        raise error

    monkeypatch.setattr(bring_up, "run", run)
    assert cli.main(["run"]) == status
    assert capsys.readouterr().err == f"{error}\n"


def test_a_list_in_a_request_stands_for_numbered_columns_unless_its_own_is_known():
    row = {"observation": [0.5, -1.0], "text": "a"}
    flat = {"observation_0": 0.5, "observation_1": -1.0, "text": "a"}
    assert spread(row, ["observation_0", "observation_1", "text"]) == flat
    assert spread(row, ["observation", "text"]) == row


def test_whole_numbers_go_where_the_model_takes_fractions():
    schema = Schema([ColSpec(DataType.string, "text"), ColSpec(DataType.double, "seed", False),
                     ColSpec(DataType.long, "state", False)])  # fmt: skip
    asked = as_asked(pd.DataFrame({"text": ["2"], "seed": [2], "state": [3]}), schema)
    assert asked.dtypes.astype(str).tolist() == [str(asked["text"].dtype), "float64", "int64"]


def test_a_misspelled_field_is_not_passed_over():
    with pytest.raises(ValueError, match="a request has no temprature; it has text, temperature"):
        refuse_unknown([{"text": "a", "temprature": 2.0}], ["text", "temperature"])
    with pytest.raises(ValueError, match="has no observation_1; it has observation_0"):
        refuse_unknown([spread({"observation": [0.5, 1.0]}, ["observation_0"])], ["observation_0"])
    refuse_unknown([{"text": "a"}], ["text", "temperature"])


@pytest.mark.parametrize(
    ("task", "why"),
    [("nodes", "there is nothing to watch"), ("cartpole", "no agent: hour9 run --task cartpole")],
)
def test_what_cannot_be_watched_is_said(task, why, project, capsys):
    assert cli.main(["watch", task]) == cli.MISTAKE
    assert why in capsys.readouterr().err


@pytest.mark.parametrize(
    ("written", "rows"),
    [
        ('{"state": 1}', [{"state": 1}]),
        ('[{"text": "a"}, {"text": "b"}]', [{"text": "a"}, {"text": "b"}]),
        ('["good", "bad"]', [{"text": "good"}, {"text": "bad"}]),
        ("a fine film", [{"text": "a fine film"}]),
        ("[laughs] a fine film", [{"text": "[laughs] a fine film"}]),
        ("", [{"text": ""}]),
        ("5", [{"text": "5"}]),  # JSON, but no row
        ("null", [{"text": "null"}]),
    ],
)
def test_what_is_no_row_is_a_text(written, rows):
    assert read_requests(written) == rows


@pytest.mark.parametrize("written", ['{"text": "x"', '{"text": "x"} and more', "{text: x}"])
def test_what_begins_as_a_row_and_is_none_is_no_text(written):
    with pytest.raises(ValueError, match=r"begins as JSON but is none: .* column"):
        read_requests(written)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("[]", "is empty"),
        ('["good", {"text": "bad"}]', "rows alone or texts alone"),
        ('["good", 3]', "rows alone or texts alone"),
    ],
)
def test_a_list_of_nothing_or_of_both_kinds_is_refused(written, why):
    with pytest.raises(ValueError, match=why):
        read_requests(written)


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(ValueError, match="bytes that are no UTF-8"):
        read_requests(b"caf\xe9".decode("utf-8", "surrogateescape"))


def test_a_program_gets_numbers_and_a_terminal_colours(capsys, monkeypatch):
    show_words([("dull", -1.5), ("[not]", 0.25)])
    assert capsys.readouterr().out == "-1.500 dull\n+0.250 [not]\n"
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")
    show_words([("dull", -1.5), ("[not]", 0.25)])
    shown = capsys.readouterr().out
    assert "48;2;160;0;0mdull" in shown  # the strongest, against: full red
    assert "[not]" in shown


@pytest.mark.parametrize("colours", [False, True])
def test_how_many_words_were_not_read_is_said(capsys, monkeypatch, colours):
    if colours:
        monkeypatch.setenv("FORCE_COLOR", "1")
    show_words([("dull", 1.5), ("cut", math.nan), ("off", math.nan)])
    shown = capsys.readouterr()
    assert "2 of 3 words were not read: the text is longer" in shown.err
    assert all(word in shown.out for word in ("dull", "cut", "off"))


def test_an_agent_that_was_never_pulled_is_named(project, capsys):
    receipt = RECEIPTS / "taxi.json"
    receipt.parent.mkdir(parents=True)
    receipt.write_text('{"challenger": "taxi-qlearning"}')
    assert cli.main(["watch", "taxi"]) == cli.MISTAKE
    assert "models/taxi/taxi-qlearning is not here; hour9 run" in capsys.readouterr().err


def test_ctrl_d_deletes_nothing(monkeypatch):
    def ends(question: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", ends)
    assert not cli.says_yes("delete it? ")


def test_a_second_candidate_is_refused_and_not_run_in_the_place_of_the_first(capsys):
    with pytest.raises(SystemExit):
        cli.main(["run", "--candidate", "nodes-gcn", "--candidate", "nodes-gat"])
    assert "--candidate takes one name; run them one after the other" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ("sweep taxi --trials 0", "argument --trials: invalid value: 0 (at least 1)"),
        ("sweep taxi --trials x", "argument --trials: invalid number value: 'x'"),
        ("sweep taxi --at-once -1", "argument --at-once: invalid value: -1 (at least 0)"),
        ("sweep taxi --seed -5", "argument --seed: invalid value: -5 (at least 0)"),
        ("worker --limit 0", "argument --limit: invalid value: 0 (at least 1)"),
        ("serve taxi --port 99999", "argument --port: invalid value: 99999 (1 to 65535)"),
        ("ui --mlflow-port 0", "argument --mlflow-port: invalid value: 0 (1 to 65535)"),
    ],
)
def test_a_number_out_of_range_is_refused_before_anything_runs(asked, why, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(asked.split())
    assert why in capsys.readouterr().err


def test_a_worker_that_nobody_could_send_to_is_refused(project, capsys):
    assert cli.main(["worker"]) == cli.MISTAKE
    (said,) = capsys.readouterr().err.splitlines()
    assert "export PREFECT_API_URL=" in said
    assert not (project / CLONE).exists()


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("127.0.0.1:4300", True),
        ("LocalHost:4300", True),  # case says nothing in a name
        ("report.example", True),
        ("", False),
        ("evil.example:4300", False),
    ],
)
def test_a_page_is_shown_to_who_asked_for_this_machine_by_name(host, known):
    assert names_this_machine(host, ["report.example", ""]) == known


def test_a_user_without_a_name_is_called_by_number(monkeypatch):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 4_000_000)
    monkeypatch.delenv("HOME", raising=False)
    cli.name_the_user()
    assert getpass.getuser() == os.environ.pop("USER") == "4000000"
    assert Path.home() == Path(os.environ.pop("HOME")) == Path(".hour9").absolute()


def test_in_another_locale_the_same_command_is_started_once_more_in_utf8(monkeypatch):
    started = []
    monkeypatch.setattr("locale.getpreferredencoding", lambda _: "ISO-8859-1")
    monkeypatch.setattr("os.execve", lambda *command: started.append(command))
    monkeypatch.delenv("PYTHONUTF8", raising=False)
    cli.speak_utf8()
    ((program, arguments, env),) = started
    assert (program, arguments, env["PYTHONUTF8"]) == (sys.executable, sys.orig_argv, "1")
    monkeypatch.setenv("PYTHONUTF8", "1")
    cli.speak_utf8()
    assert len(started) == 1


@pytest.mark.parametrize(
    ("file", "way"),
    [
        ("params.yaml", None),
        (".dvc/tmp/rwlock", "if no other DVC is at work: rm .dvc/tmp/rwlock"),
        ("dvc.lock", "if dvc.lock is damaged: git checkout dvc.lock"),
    ],
)
def test_the_way_out_is_of_the_file_that_is_damaged(file, way, project, monkeypatch, capsys):
    def run(asked):
        raise DvcException(f"unable to read: '{file}', structure is corrupted")

    monkeypatch.setattr(bring_up, "run", run)
    assert cli.main(["run"]) == cli.MISTAKE
    assert capsys.readouterr().err.splitlines()[1:] == ([way] if way else [])


def test_every_command_says_what_it_does_and_what_each_option_is():
    (commands,) = (a for a in cli.parser()._actions if isinstance(a.choices, dict))
    for name, command in commands.choices.items():
        assert command.description, name
        assert all(option.help for option in command._actions), name


def test_status_names_the_file_that_is_wrong_and_not_the_one_that_reads_it(project, capsys):
    (project / "params.yaml").write_text("tasks: null\n")
    assert cli.main(["status"]) == cli.MISTAKE
    assert capsys.readouterr().err.startswith("params.yaml: tasks holds no settings")
