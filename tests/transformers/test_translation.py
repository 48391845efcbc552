"""The task `translation`, from tables to answers."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from hour9.engine.checkpoint import Checkpoint
from hour9.engine.run import Run
from hour9.engine.settings import Source
from hour9.task import without_test
from hour9.transformers.beam import END, greedy
from hour9.transformers.seq2seq import load_translator
from hour9.transformers.settings import Seq2SeqSettings
from hour9.transformers.translation import TASK, matches, parsed
from hour9.validate import DataRejected, check, deal_splits

SETTINGS = Seq2SeqSettings(
    task="translation",
    topic="transformers",
    parent="data/translation",
    device="cpu",
    epochs=2,
    channels=8,
    layers=1,
    heads=2,
    max_tokens=40,
    learning_rate=1e-2,
)
MULTI30K = Path(__file__).parents[3] / "shared/data/text/multi30k/raw"


@pytest.fixture(scope="module")
def tables():
    """Three hundred dates."""
    return deal_splits(TASK.ingest(Source(root="src/hour9/transformers/dates.py", size=300)))


def train(tables, folder: Path, settings=SETTINGS) -> Path:
    TASK.train(
        Run(settings, without_test(tables), folder, folder / "model", Checkpoint(folder / "c", 1e9))
    )
    return folder / "model"


@pytest.fixture(scope="module")
def model(tables, tmp_path_factory):
    return train(tables, tmp_path_factory.mktemp("translation"))


def test_the_dates_keep_their_contract(tables):
    check(TASK, tables)


@pytest.mark.parametrize(
    ("name", "column", "value"),
    [
        ("sentences", "text", None),
        ("sentences", "text", " "),
        ("sentences", "text", "x" * 2001),
        ("cases", "target", ""),
        ("cases", "target", None),
        ("cases", "case", "day-99999"),  # no such sentence
        ("cases", "group.style", None),
    ],
)
def test_a_wrong_cell_breaks_the_contract(tables, name, column, value):
    table = tables[name].copy()
    table[column] = table[column].astype(object)
    table.at[3, column] = value
    with pytest.raises(DataRejected, match=rf"{name}\.{column}"):
        check(TASK, {**tables, name: table.infer_objects()})


def test_a_date_matches_only_itself():
    targets = pd.Series(["2017-05-03", "2017-05-04"])
    assert matches(["2017-05-03", "2017-05-03"], targets).tolist() == [1.0, 0.0]


def test_a_sentence_may_match_in_part():
    """chrF: 1 for the same, 0 without a letter in common."""
    targets = pd.Series(["ein Hund läuft", "ein Hund läuft", "ein Hund läuft"])
    whole, part, none = matches(["ein Hund läuft", "ein Hund steht", "xyz"], targets)
    assert (whole, none) == (1, 0)
    assert 0.3 < part < 0.9


@pytest.mark.parametrize(
    ("text", "day_first", "found"),
    [
        ("3.5.2017", True, "2017-05-03"),
        ("3.5.2017", False, "2017-03-05"),
        ("May 3rd, 2017", True, "2017-05-03"),
        ("26 Sep 49", True, "2049-09-26"),  # the grammar's century, whatever year it is
        ("26 Sep 50", True, "1950-09-26"),
        ("le 3 mai 2017", True, ""),  # it knows no French
    ],
)
def test_the_baseline_reads_by_rules(text, day_first, found):
    assert parsed(pd.Series([text]), day_first) == [found]


def test_the_baseline_reads_more_than_every_third_date_and_not_all(tables):
    assert 0.35 < TASK.baseline(tables)["score"].mean() < 0.75


def test_validation_alone_picks_whether_the_day_comes_first():
    cases = pd.DataFrame({"case": list("abc"), "split": ["validation", "test", "test"]})
    targets = ["2017-05-03", "2017-03-05", "2017-03-05"]
    sentences = cases[["case"]].assign(text="3.5.2017")
    scores = TASK.baseline({"cases": cases.assign(target=targets), "sentences": sentences})
    assert scores["score"].tolist() == [1.0, 0.0, 0.0]


def test_the_baseline_of_sentences_is_the_nearest_training_sentence():
    cases = pd.DataFrame(
        {
            "case": ["a", "b", "c"],
            "split": ["train", "train", "test"],
            "target": ["ein Hund", "eine Katze", "eine kleine Katze"],
        }
    )
    sentences = cases[["case"]].assign(text=["a dog", "a cat", "a small cat"])
    scores = TASK.baseline({"cases": cases, "sentences": sentences})
    expected = matches(["ein Hund", "eine Katze", "eine Katze"], cases["target"])
    assert scores["score"].tolist() == expected.tolist()


def test_the_nearest_sentence_is_found_where_words_are_single_signs():
    cases = pd.DataFrame(
        {"case": ["a", "b", "c"], "split": ["train", "train", "test"], "target": ["x", "y", "y"]}
    )
    sentences = cases[["case"]].assign(text=["h i", "☃ !", "☃ ?"])
    scores = TASK.baseline({"cases": cases, "sentences": sentences})
    assert scores["score"].tolist() == [1.0, 1.0, 1.0]


def test_a_score_is_that_of_the_answer(tables, model):
    data = tables["cases"].merge(tables["sentences"], on="case")
    answers = TASK.answer(model)(data[["text"]])
    scores = TASK.score(model, tables).set_index("case")["score"][data["case"]]
    assert ((answers["translation"] == data["target"]).to_numpy() == (scores == 1)).all()


def test_the_targets_of_test_cases_change_nothing(tables, model, tmp_path):
    cases = tables["cases"].copy()
    cases.loc[cases["split"] == "test", "target"] = "2000-01-01"
    again = train({**tables, "cases": cases}, tmp_path)
    for path in model.iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes()


def test_validation_chooses_the_epoch_and_teaches_nothing(tables, tmp_path):
    """Of one epoch there is no choice: with other pairs the same model, and another score."""
    held = tables["cases"]["split"] == "validation"
    other = {
        "sentences": tables["sentences"].assign(text=tables["sentences"]["text"].mask(held, "☃")),
        "cases": tables["cases"].assign(target=tables["cases"]["target"].mask(held, "☃☃")),
    }
    runs = []
    for name, known in (("honest", tables), ("other", other)):
        settings, folder = SETTINGS.model_copy(update={"epochs": 1}), tmp_path / name
        runs.append(Run(settings, without_test(known), folder, folder, Checkpoint(folder / "c")))
        TASK.train(runs[-1])
    for name in ("model.safetensors", "tokenizer.json"):
        first, second = ((run.folder / name).read_bytes() for run in runs)
        assert first == second
    assert runs[0].curve[-1]["validation"] != runs[1].curve[-1]["validation"]


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        (pd.DataFrame({"date": ["3.5.2017"]}), "needs the column 'text'; got date"),
        (
            pd.DataFrame({"text": ["3.5.2017", "", None, " "]}),
            "row 1 holds no text; row 2",
        ),
        (pd.DataFrame({"text": ["3" * 100_000]}), "row 0 has 100,000 characters, more than 2,000"),
    ],
)
def test_what_cannot_be_translated_gets_a_clear_error(model, requests, message):
    with pytest.raises(ValueError, match=message):
        TASK.answer(model)(requests)


@pytest.mark.parametrize("text", ["☃ 両方 \x00", "[END]", "3" * 38])
def test_unknown_letters_still_get_an_answer(model, text):
    (answer,) = TASK.answer(model)(pd.DataFrame({"text": [text]}))["translation"]
    assert isinstance(answer, str)


def test_a_training_sentence_that_is_too_long_is_answered_as_it_is_scored(tables, model):
    sentences = tables["sentences"].assign(text="3" * 60)
    long = {**tables, "sentences": sentences}
    found = TASK.answer(model)(pd.concat([TASK.example(long), TASK.requests(long)]))
    assert found["translation"].eq(load_translator(model).translate(["3" * 60])[0]).all()


@pytest.mark.parametrize("splits", [["train"], ["validation"], ["train", "validation"]])
def test_pairs_that_are_all_too_long_are_refused(tables, tmp_path, splits):
    sentences, cases = tables["sentences"], tables["cases"]
    long = sentences["case"].isin(cases.loc[cases["split"].isin(splits), "case"])
    longer = {**tables, "sentences": sentences.assign(text=sentences["text"].mask(long, "3" * 60))}
    with pytest.raises(ValueError, match=f"at most 40 tokens in {' or '.join(splits)}; raise max"):
        train(longer, tmp_path)


def test_no_requests_have_no_answers(tables, model):
    assert TASK.answer(model)(TASK.example(tables).head(0)).empty
    assert list(TASK.answer(model)(TASK.example(tables))) == ["translation"]


def test_a_text_is_read_as_in_training_with_one_end(tables, model):
    """And what is too long is cut before it."""
    translator = load_translator(model)
    text = tables["sentences"]["text"][0]
    (ids,) = translator.tokens([text])
    written = greedy(translator.model, torch.tensor([ids]), SETTINGS.max_tokens)[0].tolist()
    expected = translator.tokenizer.decode([token for token in written if token > END])
    assert translator.translate([text]) == [expected.strip()]
    assert translator.translate(["3" * 60]) == translator.translate(["3" * 38])


def test_the_beam_is_a_setting(tables, model):
    """One beam is greedy; three find other texts, whoever asks for them."""
    translator = load_translator(model)
    texts = tables["sentences"]["text"].tolist()[:20]
    assert translator.translate(texts) == translator.translate(texts, beam=1)
    wider = replace(translator, settings=SETTINGS.model_copy(update={"beam": 3}))
    assert (
        wider.translate(texts) == translator.translate(texts, beam=3) != translator.translate(texts)
    )


def test_the_same_model_gives_the_same_pictures(tables, model, tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        TASK.draw(model, tables, tmp_path / name)
    first = sorted((tmp_path / "first").iterdir())
    assert len(first) == 2
    for path in first:
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes()


def test_parallel_files_become_cases_and_train_a_model(tmp_path):
    english = ["a dog runs", "a cat runs", "two dogs", "two cats"] * 5
    german = ["ein Hund läuft", "eine Katze läuft", "zwei Hunde", "zwei Katzen"] * 5
    for split in ("train", "val", "test"):
        (tmp_path / f"{split}.en").write_text("\n".join(english))
        (tmp_path / f"{split}.de").write_text("\n".join(german))
    tables = TASK.ingest(Source(kind="path", root=str(tmp_path), name="en-de"))
    check(TASK, tables)
    settings = SETTINGS.model_copy(update={"pieces": 300, "beam": 2, "smoothing": 0.1})
    scores = TASK.score(train(tables, tmp_path, settings), tables)
    assert scores["score"].between(0, 1).all()
    assert np.isfinite(scores["score"]).all()


def test_sentences_are_called_chrf_and_get_a_corpus_s_bleu_and_dates_do_not(
    tables, model, monkeypatch
):
    assert (TASK.metric(tables), TASK.measure(model, tables)) == ("match", {})
    data = tables["cases"].merge(tables["sentences"], on="case")
    said = "ein Hund und eine Katze laufen am " + data["text"]
    cases = data[["case", "split"]].assign(target=said.where(data["split"] == "test", "kein Hund"))
    sentences = {**tables, "cases": cases}
    known = dict(zip(data["text"], said, strict=True))
    knower = SimpleNamespace(
        translate=lambda texts: [known[text] for text in texts],
        share_cut=load_translator(model).share_cut,
    )
    monkeypatch.setattr("hour9.transformers.seq2seq.load_translator", lambda folder: knower)
    assert TASK.metric(sentences) == "chrF"
    found = TASK.measure(model, sentences)
    nearest = {"BLEU/nearest training sentence": 0}
    assert found == pytest.approx({"BLEU": 100, **nearest, "share of texts cut": 0})


def test_the_share_of_texts_that_are_cut_is_told(model):
    """38 letters and the two marks are what it reads."""
    translator = load_translator(model)
    assert translator.share_cut(["3" * 38, "3" * 39, "3", "3" * 60]) == 0.5
