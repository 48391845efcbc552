"""Over HTTP, what no agent can answer is refused in words, and never with a 500."""

import json

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient
from tests.serving import answers, answers_the_readme, ask, each, refuses, served

from hour9.engine.settings import Source
from hour9.engine.weights import save_model
from hour9.rl import cartpole, taxi
from hour9.rl.qnetwork import QNetwork
from hour9.validate import deal_splits

FINE = {"observation_0": 0.1, "observation_1": 0.0, "observation_2": 0.02, "observation_3": -0.1}

BAD = {  # what is sent, and what the answer must say
    "cartpole": [
        ({k: v for k, v in FINE.items() if k != "observation_3"}, "observation_3"),
        ({"observation": [0.1, 0.0, 0.02, -0.1]}, "observation_0"),
        ({**FINE, "observation_1": None}, "observation_1"),
        ({**FINE, "observation_1": float("nan")}, "observation_1"),
        ({**FINE, "observation_1": float("inf")}, "observation_1"),
        ({**FINE, "observation_1": 1e39}, "observation_1"),  # more than a float32 holds
        ({**FINE, "observation_2": "upright"}, "observation_2"),
        ({**FINE, "observation_2": [0.0, 0.1]}, "observation_2"),
        ({}, "observation_0"),
    ],
    "taxi": [
        ({"state": 500}, "0 to 499, got [500]"),
        ({"state": -1}, "0 to 499, got [-1]"),
        ({"state": 10**30}, "state"),
        ({"state": None}, "state"),
        ({"state": float("nan")}, "state"),
        ({"state": "home"}, "state"),
        ({"state": [3]}, "state"),
        ({"place": 3}, "state"),
        ({}, "state"),
    ],
}
MANY = 100_000


@pytest.fixture(scope="module")
def servers(tmp_path_factory) -> dict[str, TestClient]:
    """An untrained agent of each task, as the registry packs it, behind MLflow's server."""
    config = {"settings": {"hidden": 4, "seeds": 1, "dueling": True}, "registered": 0}
    sizes = {"observations": 4, "actions": 2}
    network = QNetwork(torch.ones(4), 4, 2, agents=1, dueling=True)
    weights = {"cartpole": dict(network.state_dict()), "taxi": {"q": torch.rand(1, 500, 6)}}
    made = []
    for task, env in ((cartpole.TASK, "CartPole-v1"), (taxi.TASK, "Taxi-v4")):
        model = tmp_path_factory.mktemp(task.name)
        save_model(model, weights[task.name], {**config, **sizes, "env": env})
        source = Source(root="src/hour9/rl/environments.py", env=env, size=20)
        made.append((task, model, deal_splits(task.ingest(source))))
    return served("rl", made, tmp_path_factory.mktemp)


@pytest.mark.parametrize(("task", "sent", "said"), each(BAD))
def test_a_bad_request_is_refused_in_words(servers, task, sent, said):
    refuses(servers[task], sent, said)


def test_a_hundred_thousand_requests_have_as_many_answers(servers):
    """As columns, which is how so many are sent."""
    body = {"dataframe_split": {"columns": [*FINE], "data": [[*FINE.values()]] * MANY}}
    answer = servers["cartpole"].post(
        "/invocations", content=json.dumps(body), headers={"content-type": "application/json"}
    )
    assert answer.status_code == 200, answer.text[:500]
    _, alone = ask(servers["cartpole"], FINE)
    found = answers(answer.text)
    assert len(found) == MANY
    np.testing.assert_allclose(found.drop_duplicates(), answers(alone), rtol=1e-5)


@pytest.mark.parametrize("task", ["cartpole", "taxi"])
def test_no_request_has_no_answer_and_no_500(servers, task):
    status, words = ask(servers[task])
    assert status < 500, words


@pytest.mark.parametrize("task", BAD)
def test_the_example_of_the_readme_is_answered(servers, task):
    answers_the_readme(servers[task], task)
