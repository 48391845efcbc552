import random

import pytest

from hour9.transformers.perturb import hurried, typo
from hour9.transformers.sentiment import perturb


@pytest.mark.parametrize("seed", range(20))
def test_a_typo_swaps_loses_or_doubles_one_letter_inside_the_word(seed):
    word = "terrible"
    made = typo(word, random.Random(seed))
    assert made[0] == word[0]
    assert abs(len(made) - len(word)) <= 1
    if len(made) == len(word):
        assert sorted(made) == sorted(word)
    elif len(made) < len(word):
        assert any(word[:i] + word[i + 1 :] == made for i in range(len(word)))
    else:
        assert any(made[:i] + made[i + 1 :] == word for i in range(len(made)))


def test_short_words_and_numbers_are_left_alone():
    assert typo("not", random.Random(0)) == "not"
    assert typo("1,000", random.Random(0)) == "1,000"


def test_about_one_word_in_ten_is_shouted_and_one_in_ten_mistyped():
    words = ["wonderful"] * 2000
    made = hurried(" ".join(words), random.Random(0)).split(" ")
    assert len(made) == len(words)
    assert 0.08 < sum(word.isupper() for word in made) / 2000 < 0.12
    assert 0.07 < sum(word.lower() != "wonderful" for word in made) / 2000 < 0.12


def test_of_the_reviews_words_about_one_in_27_is_mistyped(tables):
    """Most are shorter, or have a comma or a full stop behind them."""
    text = " ".join(tables["sentences"]["text"])
    made = hurried(text, random.Random(0)).split(" ")
    pairs = list(zip(text.split(" "), made, strict=True))
    assert 1 / 32 < sum(a.lower() != b.lower() for a, b in pairs) / len(pairs) < 1 / 23


def test_a_case_is_perturbed_alike_whatever_others_there_are(tables):
    few = {**tables, "sentences": tables["sentences"].iloc[40:50]}
    all_of_them = perturb(tables, seed=0)["sentences"].iloc[40:50]
    assert perturb(few, seed=0)["sentences"]["text"].tolist() == all_of_them["text"].tolist()
    assert perturb(few, seed=1)["sentences"]["text"].tolist() != all_of_them["text"].tolist()
