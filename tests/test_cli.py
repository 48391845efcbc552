"""The command line's own small parts; the whole commands are run in test_pipeline.py."""

import pytest

from hour9 import cli


def test_a_list_in_a_request_stands_for_numbered_columns():
    row = {"observation": [0.5, -1.0], "text": "a"}
    assert cli.spread(row) == {"observation_0": 0.5, "observation_1": -1.0, "text": "a"}


@pytest.mark.parametrize(
    ("task", "why"),
    [("nodes", "there is nothing to watch"), ("cartpole", "no challenger: hour9 run --task")],
)
def test_what_cannot_be_watched_is_said(task, why, project, capsys):
    assert cli.main(["watch", task]) == 1
    assert why in capsys.readouterr().err
