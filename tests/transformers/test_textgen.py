"""The task `textgen`, from tables to answers."""

import lzma
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hour9.engine.checkpoint import Checkpoint
from hour9.engine.run import Run
from hour9.engine.settings import Source
from hour9.ingest import with_probes
from hour9.params import read_params
from hour9.task import without_test
from hour9.transformers import textgen
from hour9.transformers.gpt import load_gpt
from hour9.transformers.settings import NewGptSettings
from hour9.transformers.textgen import DEFAULTS, TASK


@pytest.fixture(scope="module")
def tables():
    return TASK.ingest(Source(root="x", size=40))


@pytest.fixture(scope="module")
def model(tables, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("textgen")
    settings = NewGptSettings(
        task="textgen",
        topic="transformers",
        parent="x",
        device="cpu",
        epochs=4,
        learning_rate=1e-2,
        context=48,
        vocabulary=300,
        channels=16,
        heads=2,
        layers=2,
    )
    TASK.train(Run(settings, without_test(tables), folder, folder / "m", Checkpoint(folder / "c")))
    return folder / "m"


@pytest.fixture(scope="module")
def ask(model):
    answer = TASK.answer(model)
    return lambda *rows: answer(pd.DataFrame(list(rows)))["continuation"].tolist()


def test_a_score_is_minus_the_bits_of_a_byte(tables, model):
    scores = tables["cases"].merge(TASK.score(model, tables), on="case")
    bits = load_gpt(model).bits_per_byte(scores["target"].tolist())
    np.testing.assert_allclose(scores["score"], -bits, rtol=1e-5)
    assert scores["score"].between(-8, 0).all()


def test_a_model_that_goes_on_as_it_has_learned_copies(tables, monkeypatch, model):
    """Test passages that stand in training are all common property; what is written may be."""
    cases = tables["cases"]
    train = cases.loc[cases["split"] == "train", "target"].iloc[0]
    test = cases["split"] == "test"
    known = {**tables, "cases": cases.assign(target=cases["target"].mask(test, train))}
    rest = " ".join(train.split()[textgen.BEGINNING :])
    monkeypatch.setattr(textgen, "write", lambda gpt, prompts, *_: [rest] * len(prompts))
    scores = TASK.score(model, known)
    assert scores.loc[test, ["copied", "shared"]].eq(1).all(axis=None)
    assert scores.loc[~test, ["copied", "shared"]].isna().all(axis=None)
    assert TASK.score(model, tables).loc[test, "shared"].mean() < 1


def test_a_model_that_writes_worse_of_some_leans(tables, monkeypatch, model):
    probed = with_probes(tables, TASK.probes(Path("src/hour9/transformers/probes.py")))
    praise = {True: "wonderful, and moving", False: "awful, and dull"}
    monkeypatch.setattr(
        textgen, "write", lambda gpt, prompts, *_: [praise["woman" in p] for p in prompts]
    )
    evidence = probed["cases"].merge(TASK.score(model, probed), on="case")
    lean = evidence[evidence["split"] == "probe"].groupby("group.identity")["output"].mean()
    assert lean["women"] > 0.6 > 0.4 > lean["men"]
    assert evidence.loc[evidence["split"] != "probe", "output"].isna().all()


def test_counterparts_are_written_with_the_same_chance(tables, model):
    """So a model that does not hear who is spoken of does not lean at all."""
    gpt = load_gpt(model)
    same = textgen.write(gpt, ["The film"] * 2, ["one", "one"], 8)
    assert same[0] == same[1] != textgen.write(gpt, ["The film"], ["two"], 8)[0]


def test_the_baseline_counts_nothing_of_test(tables):
    cases = tables["cases"]
    test = cases["split"] == "test"
    other = {**tables, "cases": cases.assign(target=cases["target"].where(~test, "zzz"))}
    honest, after = (TASK.baseline(t)["score"] for t in (tables, other))
    assert honest[~test].equals(after[~test])
    assert after[test].nunique() == 1  # all the same text now


def test_the_baseline_is_no_straw_man():
    """On the default data, it needs less than a compressor that has seen the same texts."""
    tables = TASK.ingest(Source(**read_params()["tasks"]["textgen"]["source"]))
    cases = tables["cases"].merge(TASK.baseline(tables), on="case")
    seen = "\n".join(cases.loc[cases["split"] == "train", "target"]) + "\n"
    test = cases[cases["split"] == "test"]
    size = len(lzma.compress(seen.encode()))
    more = [len(lzma.compress((seen + text).encode())) - size for text in test["target"]]
    assert -test["score"].mean() < (8 * np.array(more) / test["target"].str.len()).mean()


def test_the_likeliest_text_is_always_the_same_and_a_seed_says_which_other(ask):
    text = {"text": "The film"}
    chance = {**text, "temperature": 1.0}
    assert ask(text) == ask(text)
    assert ask({**chance, "seed": 1}) == ask({**chance, "seed": 1})
    assert len({ask({**chance, "seed": seed})[0] for seed in range(5)}) > 1


def test_requests_together_are_answered_as_alone(ask):
    requests = [
        {"text": "The film", "tokens": 3},
        {"text": "I found the music very", "temperature": 1.0, "top_k": 5, "seed": 3},
        {"text": "A", "temperature": 0.7, "top_p": 0.5},
    ]
    assert ask(*requests) == [ask(request)[0] for request in requests]


def test_fewer_tokens_are_the_beginning_of_more(ask):
    short, long = (ask({"text": "The film", "tokens": n})[0] for n in (2, 12))
    assert long.startswith(short)
    assert len(long) > len(short)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"prompt": "The film"}, "needs the column 'text'; got prompt"),
        ({"text": " \n"}, "row 0 holds no text"),
        ({"text": None}, "row 0 holds no text"),
        ({"text": "x" * 100_001}, "has 100,001 characters, more than 100,000"),
        ({"text": "fine", "top_p": 2.0}, "top_p above 0"),
        ({"text": "fine", "tokens": "many"}, "tokens is 'many'; numbers are needed"),
        ({"text": "fine", "tokens": 2.5}, "tokens is 2.5"),
        ({"text": "fine", "seed": -1, "temperature": np.inf}, "temperature is inf, seed is -1"),
    ],
)
def test_a_request_that_cannot_be_answered_says_why(ask, request_, message):
    with pytest.raises(ValueError, match=message):
        ask(request_)


@pytest.mark.parametrize("text", ["\x00\ufffd", "☃ né", "<|endoftext|>"])
def test_bytes_that_were_never_seen_are_no_obstacle(ask, text):
    assert isinstance(ask({"text": text})[0], str)


def test_the_examples_can_be_answered_and_show_every_setting(model, tables):
    example = TASK.example(tables)
    assert set(example) == {"text", *DEFAULTS}
    assert len(TASK.answer(model)(example)) == len(example)


def test_no_requests_have_no_answers(model):
    assert TASK.answer(model)(pd.DataFrame({"text": []})).empty


def test_passages_without_spaces_are_longer_than_the_context_and_still_answered(
    model, tables, tmp_path
):
    cases = tables["cases"].assign(target="ACGTTGCA" * 30)
    unspaced = {**tables, "cases": cases}
    for requests in (TASK.example(unspaced), TASK.requests(unspaced).head(3)):
        assert len(TASK.answer(model)(requests)) == 3
    TASK.draw(model, unspaced, tmp_path)


def test_of_a_prompt_that_leaves_no_room_the_end_is_read(model, ask):
    gpt, text = load_gpt(model), "a" + "the film was good " * 20
    assert gpt.prompt(text) == gpt.encode(text)[-24:]  # half of the context
    assert gpt.prompt("The film") == gpt.encode("The film")
    assert ask({"text": text}) == ask({"text": "b" + text})


def test_the_pictures_are_the_same_each_time(model, tables, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        TASK.draw(model, tables, tmp_path / name)
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in ("one", "two"))
    assert one == two
    assert set(one) == {"attention_by_head.png", "written_by_the_model.png"}


def test_bad_data_breaks_the_contract(tables):
    from hour9.validate import DataRejected, check

    check(TASK, tables)
    cases, reference = (tables[name].copy() for name in ("cases", "reference"))
    cases.loc[0, "target"] = " "
    reference.loc[1, "topic"] = reference.loc[0, "topic"]
    with pytest.raises(DataRejected) as rejected:
        check(TASK, {"cases": cases, "reference": reference})
    assert "cases.target" in str(rejected.value)
    assert "reference.topic" in str(rejected.value)


def test_an_unknown_source_is_refused():
    with pytest.raises(ValueError, match="no source 'hub'; it reads embedded, path"):
        TASK.ingest(Source(kind="hub", root="x"))


def test_what_stands_in_the_reference_is_copied_too(tables, monkeypatch, model):
    known = " ".join(tables["reference"]["text"].iloc[0].split()[:20])
    monkeypatch.setattr(textgen, "write", lambda gpt, prompts, *_: [known] * len(prompts))
    scores = TASK.score(model, tables)
    assert scores.loc[tables["cases"]["split"] == "test", "copied"].eq(1).all()


def test_a_probe_and_its_counterpart_have_the_same_chance(monkeypatch):
    asked = []
    monkeypatch.setattr(textgen, "positivity", lambda: lambda texts: np.zeros(len(texts)))
    monkeypatch.setattr(
        textgen, "write", lambda gpt, prompts, chances, tokens: asked.append(chances) or prompts
    )
    cases = TASK.probes(Path("src/hour9/transformers/probes.py"))["cases"]
    textgen.leanings(None, cases)
    second = cases[cases["pair"] != ""]
    for chances in asked:
        of = pd.Series(chances, index=cases["case"])
        assert of[second["case"]].tolist() == of[second["pair"]].tolist()
        assert of.nunique() == len(cases) - len(second)
    assert set(asked[0]).isdisjoint(asked[1])  # each time another continuation
