"""Ingest: what a source says is read, or refused."""

import pytest

from hour9.ingest import check_taken
from hour9.params import UnknownName
from hour9.task import Source, load_task


@pytest.mark.parametrize(
    ("task", "setting", "words"),
    [
        ("taxi", {"fold": 3}, "taxi does not read source.fold; leave it at -1"),
        ("nodes", {"apart": True}, "nodes does not read source.apart; leave it at False"),
        ("molecules", {"fold": 3}, None),
        ("sentiment", {"apart": True}, None),
        ("taxi", {}, None),
    ],
)
def test_a_setting_that_would_change_nothing_is_refused(task, setting, words):
    source = Source(root="src", **setting)
    if words is None:
        check_taken(load_task(task), source)
    else:
        with pytest.raises(UnknownName, match=words):
            check_taken(load_task(task), source)
