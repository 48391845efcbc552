"""The scoring server over a real version: answers, refusals, and who answered."""

import pytest
from starlette.testclient import TestClient

from hour9.serve import LARGEST, NAMED, app


@pytest.fixture
def server(registered, client) -> TestClient:
    """The taxi's challenger, served in this process."""
    return TestClient(app("taxi@challenger"))


def test_requests_are_answered_or_refused_in_words_by_a_named_version(server):
    right = server.post("/invocations", json={"dataframe_records": [{"state": 1}]})
    assert right.status_code == 200
    assert "action" in right.json()["predictions"][0]

    wrong = {
        "no such state": server.post("/invocations", json={"dataframe_records": [{"state": -7}]}),
        "no such column": server.post("/invocations", json={"dataframe_records": [{"x": 1}]}),
        "no table": server.post("/invocations", json={"state": 1}),
        "no JSON": server.post(
            "/invocations", content=b"{", headers={"content-type": "application/json"}
        ),
        "nested": server.post(
            "/invocations",
            content=b'{"dataframe_records": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
            headers={"content-type": "application/json"},
        ),
        "no type": server.post("/invocations", content=b"{}"),
        "too large": server.post(
            "/invocations", content=b" " * (LARGEST + 1), headers={"content-type": "text/csv"}
        ),
    }
    for what, answer in wrong.items():
        assert 400 <= answer.status_code < 500, what
        assert len(answer.text) > 10, what
    assert "state" in wrong["no such state"].text

    everyone = [right, *wrong.values(), server.get("/ping")]
    assert {answer.headers[NAMED] for answer in everyone} == {"taxi/1"}
