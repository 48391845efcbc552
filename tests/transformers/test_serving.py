"""Over HTTP, what no model of the topic can answer is refused in words, and never with a 500."""

import numpy as np
import pytest
from starlette.testclient import TestClient
from tests.serving import answers_the_readme, ask, each, refuses, served

from hour9.engine.checkpoint import Checkpoint
from hour9.engine.run import Run
from hour9.engine.settings import Source
from hour9.task import without_test
from hour9.transformers import sentiment, textgen, translation, vision
from hour9.transformers.settings import NewGptSettings, Seq2SeqSettings, VitSettings
from hour9.validate import deal_splits

SMALL = {
    "topic": "transformers", "parent": "x", "device": "cpu",
    "epochs": 1, "channels": 8, "heads": 2, "layers": 1,
}  # fmt: skip
TASKS = {
    "vision": (vision.TASK, VitSettings(task="vision", **SMALL)),
    "textgen": (
        textgen.TASK, NewGptSettings(task="textgen", context=48, vocabulary=300, **SMALL)
    ),
    "translation": (
        translation.TASK, Seq2SeqSettings(task="translation", max_tokens=40, **SMALL)
    ),
}  # fmt: skip
BLACK = [0] * 64

BAD = {  # what is sent, and what the answer must say
    "sentiment": [
        ({"text": ""}, "row 0 holds no text"),
        ({"text": None}, "text"),
        ({"text": 7}, "text"),
        ({"text": ["fine"]}, "text"),
        ({"text": "x" * 100_001}, "more than 100,000"),
        ({"text": "\ud800"}, "surrogates"),
        ({"review": "fine"}, "text"),
    ],
    "vision": [
        ({"pixels": BLACK[1:]}, "64 whole numbers"),
        ({"pixels": [[0] * 8] * 8}, "pixels"),
        ({"pixels": [256, *BLACK[1:]]}, "64 whole numbers"),
        ({"pixels": [0.5, *BLACK[1:]]}, "pixels"),
        ({"pixels": [None, *BLACK[1:]]}, "pixels"),
        ({"pixels": [np.nan, *BLACK[1:]]}, "pixels"),
        ({"pixels": "black"}, "pixels"),
        ({"pixels": 7}, "pixels"),
        ({"image": BLACK}, "pixels"),
    ],
    "textgen": [
        ({"text": " "}, "row 0 holds no text"),
        ({"text": 7}, "text"),
        ({"text": "x" * 100_001}, "more than 100,000"),
        ({"text": "\ud800"}, "surrogates"),
        ({"text": "fine", "tokens": "many"}, "tokens"),
        ({"text": "fine", "top_p": 2.0}, "top_p"),
        ({"text": "fine", "seed": -1}, "seed"),
    ],
    "translation": [
        ({"text": ""}, "row 0 holds no text"),
        ({"text": None}, "text"),
        ({"text": "3" * 100_000}, "more than 2,000"),
        ({"text": "\ud800"}, "surrogates"),
    ],
}
DEFINED = {  # what is strange, and yet has an answer
    "sentiment": [{"text": "\x00\ufffd"}, {"text": "☃"}, {"text": "x" * 100_000}],
    "vision": [{"pixels": BLACK}],
    "textgen": [
        {"text": "\x00\ufffd", "tokens": 2},
        {"text": "☃", "temperature": None},
        {"text": "word " * 50},
    ],
    "translation": [{"text": "\x00\ufffd"}, {"text": "☃ 両方"}, {"text": "3" * 39}],
}


@pytest.fixture(scope="module")
def servers(tmp_path_factory, model_folder, tables) -> dict[str, TestClient]:
    """An untrained model of each task, as the registry packs it, behind MLflow's server."""
    made = [(sentiment.TASK, model_folder, tables)]
    for name, (task, settings) in TASKS.items():
        rows = deal_splits(task.ingest(Source(root="x", size=60)))
        scratch = tmp_path_factory.mktemp(name)
        run = Run(settings, without_test(rows), scratch, scratch / "m", Checkpoint(scratch / "c"))
        task.train(run)
        made.append((task, run.folder, rows))
    return served("transformers", made, tmp_path_factory.mktemp)


@pytest.mark.parametrize(("task", "sent", "said"), each(BAD))
def test_a_bad_request_is_refused_in_words(servers, task, sent, said):
    refuses(servers[task], sent, said)


@pytest.mark.parametrize(
    ("task", "request_"),
    [(task, request) for task, requests in DEFINED.items() for request in requests],
)
def test_a_strange_request_has_an_answer(servers, task, request_):
    status, words = ask(servers[task], request_)
    assert status == 200, words
    assert "predictions" in words


@pytest.mark.parametrize("task", BAD)
def test_the_example_of_the_readme_is_answered(servers, task):
    answers_the_readme(servers[task], task)
