"""What each word added to an answer, and the pictures of it."""

import math
from types import SimpleNamespace

import pytest
import torch
from matplotlib.figure import Figure

from hour9.transformers import sentiment
from hour9.transformers.classifier import load_classifier
from hour9.transformers.explain import (
    AGAINST,
    FOR,
    NoExplanation,
    by_word,
    explained_words,
    masked,
    write_words,
)

TEXT = "Although the acting felt superb, I found the film very tedious."


@pytest.fixture(scope="module")
def classifier(model_folder):
    return load_classifier(model_folder)


def test_what_the_words_add_is_the_difference_that_they_make(classifier):
    """Completeness (Sundararajan et al. 2017, proposition 1), for two labels."""
    tokens = torch.tensor([classifier.tokenizer.encode(TEXT).ids])
    with torch.no_grad():
        text, nothing = (
            classifier.model(x, torch.ones_like(x))[0] for x in (tokens, masked(classifier, tokens))
        )
    answer = int(text.argmax())
    made = (text - nothing)[answer] - (text - nothing)[1 - answer]
    words = explained_words(classifier, TEXT)
    assert sum(value for _, value in words) == pytest.approx(made.item(), rel=0.02, abs=1e-3)


def test_each_word_of_the_text_is_told_once(classifier):
    assert [word for word, _ in explained_words(classifier, TEXT)] == TEXT.split()


def test_a_word_has_what_its_pieces_have():
    places = [(0, 0), (0, 2), (2, 4), (4, 5), (7, 9), (0, 0)]  # [CLS] du ##ll . ok [SEP]
    added = [9.0, 1.0, 2.0, 0.5, -1.0, 9.0]
    assert by_word("dull.  ok", places, added) == [("dull.", 3.5), ("ok", -1.0)]


def test_a_word_that_was_cut_off_adds_no_number():
    (_, kept), (word, cut) = by_word("ok cut", [(0, 0), (0, 2), (0, 0)], [9.0, 1.0, 9.0])
    assert (kept, word) == (1.0, "cut")
    assert math.isnan(cut)


def test_a_candidate_without_gradients_says_who_can_explain():
    class Rounded:
        labels = ("negative", "positive")

        def probabilities(self, texts):
            raise AssertionError

    with pytest.raises(NoExplanation, match="int8 explains nothing; ask a version of bert"):
        explained_words(Rounded(), TEXT)


def test_the_same_model_gives_the_same_pictures(model_folder, tables, tmp_path):
    drawn = []
    for name in ("once", "again"):
        folder = tmp_path / name
        folder.mkdir()
        sentiment.draw(model_folder, tables, folder)
        drawn.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert sorted(drawn[0]) == ["What_each_word_adds.png", "Where_each_head_looks.png"]
    assert drawn[0] == drawn[1]


@pytest.mark.filterwarnings("ignore:.*Any type hint:UserWarning")  # MLflow's own import
def test_a_registered_version_explains_with_its_own_code(model_folder):
    from hour9.registry.model import Candidate
    from hour9.registry.versions import answering_code

    with answering_code("transformers") as code:
        context = SimpleNamespace(
            artifacts={"model": str(model_folder), "code": str(code)},
            model_config={"topic": "transformers", "task": "sentiment"},
        )
        version = Candidate()
        version.load_context(context)
        assert [word for word, _ in version.explain(TEXT)] == TEXT.split()


def test_green_speaks_for_the_answer_and_red_against_it():
    axis = Figure().subplots()
    write_words(axis, [("good", 2.0), ("bad", -1.0)], height=0.0)
    good, bad = (text.get_bbox_patch().get_facecolor() for text in axis.texts)
    assert good == pytest.approx((*FOR, 0.75))
    assert bad == pytest.approx((*AGAINST, 0.375))  # half as much
