"""The task `sentiment`, from tables to answers."""

import numpy as np
import pandas as pd
import pytest

from hour9.engine.settings import Source
from hour9.params import read_params
from hour9.transformers.sentiment import TASK


@pytest.fixture(scope="module")
def data(tables):
    return tables["cases"].merge(tables["sentences"], on="case")


def test_a_bag_of_words_finds_the_embedded_reviews_neither_easy_nor_hopeless():
    source = Source(**read_params()["tasks"]["sentiment"]["source"])
    tables = TASK.ingest(source.model_copy(update={"kind": "embedded", "name": ""}))
    scores = tables["cases"].merge(TASK.baseline(tables), on="case")
    assert 0.70 <= scores.loc[scores["split"] == "test", "score"].mean() <= 0.85


def test_the_baseline_reads_signs_that_are_no_words():
    cases = pd.DataFrame(
        {
            "case": ["a", "b", "c"],
            "split": ["train", "train", "test"],
            "target": ["positive", "negative", "negative"],
        }
    )
    sentences = cases[["case"]].assign(text=["😀 !", "😡", "😡 !"])
    scores = TASK.baseline({"cases": cases, "sentences": sentences})
    assert scores["score"].tolist() == [1.0, 1.0, 1.0]


def test_the_baseline_learns_nothing_from_test(tables):
    cases = tables["cases"]
    test = cases["split"] == "test"
    other = cases["target"].map({"negative": "positive", "positive": "negative"})
    lied = {**tables, "cases": cases.assign(target=cases["target"].where(~test, other))}
    honest, after = (TASK.baseline(t)["score"] for t in (tables, lied))
    assert honest[~test].equals(after[~test])
    assert (honest[test] + after[test] == 1).all()  # the same answers, every one judged otherwise


def test_a_score_says_whether_the_answer_is_the_target(tables, data, model_folder):
    scores = data.merge(TASK.score(model_folder, tables), on="case")
    answers = TASK.answer(model_folder)(data)
    assert ((scores["score"] == 1) == (answers["label"] == data["target"])).all()
    np.testing.assert_allclose(scores["confidence"], answers["confidence"], rtol=1e-4)
    np.testing.assert_allclose(scores["output"], answers["probability"], rtol=1e-4)


def test_the_share_of_test_texts_that_are_cut_is_told(tables, settings, model_folder):
    """Of each, as many tokens are read as the settings say, the two marks among them."""
    cases = pd.DataFrame({"case": list("abcd"), "split": ["test", "test", "test", "train"]})
    words = settings.max_tokens - 2
    texts = [", " * words, ", " * (words + 1), ",", ", " * 500]
    sentences = cases[["case"]].assign(text=texts)
    told = TASK.measure(model_folder, {"cases": cases, "sentences": sentences})
    assert told == {"share of texts cut": pytest.approx(1 / 3)}


def test_an_answer_is_the_likelier_label(tables, model_folder):
    answers = TASK.answer(model_folder)(TASK.example(tables))
    assert list(answers) == ["label", "confidence", "probability"]
    assert ((answers["label"] == "positive") == (answers["probability"] > 0.5)).all()
    expected = np.maximum(answers["probability"], 1 - answers["probability"])
    np.testing.assert_allclose(answers["confidence"], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        (pd.DataFrame({"review": ["fine"]}), "needs the column 'text'; got review"),
        (pd.DataFrame({"text": ["fine", None, " "]}), "row 1 holds no text; row 2 holds no text"),
        (pd.DataFrame({"text": ["\u200b\ufeff \x00"]}), "row 0 holds no text"),  # nothing to see
        (
            pd.DataFrame({"text": ["fine " * 20_001]}),
            "row 0 has 100,005 characters, more than 100",
        ),
        (pd.DataFrame({"text": ["a\udcff"]}, dtype=object), "row 0 holds bytes that are no UTF-8"),
    ],
)
def test_a_request_without_text_is_refused(model_folder, requests, message):
    with pytest.raises(ValueError, match=message):
        TASK.answer(model_folder)(requests)


@pytest.mark.parametrize(
    "text", ["dull " * 20_000, "\x00\x07a", "\ufffd\U0001f600", "🎬" * 50, "a" * 100_000, "."]
)
def test_a_strange_text_has_a_defined_answer(model_folder, text):
    (answer,) = TASK.answer(model_folder)(pd.DataFrame({"text": [text]})).to_dict("records")
    assert answer["label"] in ("negative", "positive")
    assert 0.5 <= answer["confidence"] <= 1.0


def test_no_requests_have_no_answers(model_folder):
    assert TASK.answer(model_folder)(pd.DataFrame({"text": []})).empty


def test_labelled_texts_become_cases(tmp_path):
    (tmp_path / "train.tsv").write_text("good\t1\nbad\t0\n")
    tables = TASK.ingest(Source(kind="path", root=str(tmp_path)))
    assert tables["cases"]["target"].tolist() == ["positive", "negative"]
    assert list(tables["sentences"]) == ["case", "text"]


def test_embedded_reviews_that_are_to_stand_apart_are_refused():
    with pytest.raises(ValueError, match=r"leave out source\.apart"):
        TASK.ingest(Source(root="x", apart=True))


def test_a_source_of_graphs_is_refused():
    with pytest.raises(ValueError, match="planetoid holds graphs"):
        TASK.ingest(Source(kind="planetoid", root="x"))


def test_bad_data_breaks_the_contract(tables):
    from hour9.validate import DataRejected, check

    check(TASK, tables)
    cases, sentences = (tables[name].copy() for name in ("cases", "sentences"))
    cases.loc[0, "target"] = "neutral"
    sentences.loc[1, "text"] = " "
    with pytest.raises(DataRejected) as rejected:
        check(TASK, {"cases": cases, "sentences": sentences})
    assert "cases.target" in str(rejected.value)
    assert "sentences.text" in str(rejected.value)


def test_a_train_split_of_one_label_is_no_lesson_whatever_the_probes_bring(tables):
    from hour9.validate import DataRejected, check

    cases = tables["cases"].copy()
    cases.loc[cases["split"] == "train", "target"] = "positive"
    said = r"target where split == train: .*lacks \['negative'\]"
    with pytest.raises(DataRejected, match=said):
        check(TASK, {**tables, "cases": cases})
