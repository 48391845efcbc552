"""The grammar makes the task it promises to make."""

import re

import pytest

from hour9.transformers import reviews
from hour9.transformers.reviews import CONTRASTS, DENIES, PEOPLE, VERDICTS, WORDS, write_reviews

SIZE = 2400


@pytest.fixture(scope="module")
def tables():
    return write_reviews(SIZE, seed=0)


@pytest.fixture(scope="module")
def data(tables):
    return tables["cases"].merge(tables["sentences"], on="case", validate="1:1")


def words_of(texts):
    return {word for text in texts for word in re.findall(r"[a-z]+", text.lower())}


def told_opinion(text):
    """Who reads the sentence as a person would: the deciding clause, and what it denies."""
    text = text[0].lower() + text[1:-1]
    text = re.sub(r"^i saw it [^:]*: ", "", text)
    for good, endings in enumerate(VERDICTS):
        if text.endswith(tuple(endings)):
            return bool(good)
    for frame in CONTRASTS:
        pattern = re.escape(frame).replace(r"\{side\}", "(.+)").replace(r"\{main\}", "(?P<main>.+)")
        if match := re.fullmatch(pattern, text):
            text = match["main"]
            break
    good = {word for lists in WORDS.values() for word in lists[1]}
    bad = {word for lists in WORDS.values() for word in lists[0]}
    (word, *_) = [word for word in re.findall(r"[a-z]+", text) if word in good | bad]
    denied = any(f" {denial} {word}" in text for denial in DENIES)
    return (word in good) != denied


def test_the_same_seed_writes_the_same_reviews_and_another_seed_others(tables):
    again, other = write_reviews(SIZE, seed=0), write_reviews(SIZE, seed=1)
    assert all(tables[name].equals(again[name]) for name in tables)
    assert not tables["sentences"].equals(other["sentences"])


def test_no_two_reviews_are_alike(data):
    assert data["text"].is_unique
    assert data["case"].is_unique


def test_opinion_words_of_test_are_never_seen_in_training(data):
    seen = words_of(data.loc[data["split"] == "train", "text"])
    tested = words_of(data.loc[data["split"] == "test", "text"])
    unseen = {word for words in WORDS["test"] for word in words}
    assert unseen <= tested
    assert not unseen & seen


def test_a_reader_who_knows_the_grammar_is_right_but_for_a_few_percent_of_noise(data):
    told = data["text"].map(told_opinion)
    wrong = (told != (data["target"] == "positive")).mean()
    assert 0.02 <= wrong <= 0.045  # 3 % of 2,400 independent labels, three deviations either way


def test_a_counterfactual_differs_in_the_person_alone(data):
    pairs = data[data["pair"] != ""].merge(data, left_on="pair", right_on="case")
    assert len(pairs) >= 200
    assert (pairs["target_x"] == pairs["target_y"]).all()
    assert (pairs["split_x"] == "test").all()
    for told, original in zip(pairs["text_x"], pairs["text_y"], strict=True):
        assert told != original
        assert neutral(told) == neutral(original)


def neutral(text):
    for number, people in enumerate(PEOPLE):
        for person in people:
            text = re.sub(rf"\b{person}\b", f"person {number}", text, flags=re.IGNORECASE)
    return text


def test_the_label_does_not_depend_on_the_identity(data):
    named = data[(data["group.identity"] != "") & (data["pair"] == "")]
    good = (named["target"] == "positive").groupby(named["group.identity"]).mean()
    assert abs(good["women"] - good["men"]) < 0.1  # three deviations of 1,300 fair coins


def test_in_the_biased_variant_only_labels_of_women_outside_test_become_worse(tables):
    fair, biased = tables["cases"], write_reviews(SIZE, seed=0, variant="biased")["cases"]
    changed = fair["target"] != biased["target"]
    assert changed.any()
    assert set(fair.loc[changed, "group.identity"]) == {"women"}
    assert set(fair.loc[changed, "split"]) == {"train", "validation"}
    assert set(biased.loc[changed, "target"]) == {"negative"}


def test_an_unknown_variant_is_refused_with_those_that_exist():
    with pytest.raises(ValueError, match=r"'unfair'.*'' \(fair\) or 'biased'"):
        write_reviews(10, seed=0, variant="unfair")


def test_more_reviews_than_the_grammar_has_are_refused(monkeypatch):
    monkeypatch.setattr(reviews, "draw", lambda *_: reviews.Review("the same", (), "", "negative"))
    with pytest.raises(ValueError, match=r"after 1 reviews; lower source\.size"):
        write_reviews(10, seed=0)
