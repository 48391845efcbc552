import numpy as np
import pandas as pd
import pytest

from hour9.sources.fingerprints import of_arrays, of_texts

LONG = "it was a long film about a small town by the sea and the people who left it one by one"


def share_one(first: str, second: str) -> bool:
    """Whether two texts have a fingerprint in common."""
    table = of_texts(["a", "b", "c"], [first, second, "nothing to do with either of them"])
    prints = table.groupby("case")["fingerprint"].agg(set)
    assert not prints["c"] & (prints["a"] | prints["b"])
    return bool(prints["a"] & prints["b"])


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (LONG, True),
        (LONG.upper().replace(" and", ", and") + "!", True),
        (LONG + " year", True),  # 18 triples of 19
        (LONG.replace("small", "big"), False),  # 15 triples of 21: another film
        ("the people left", False),
    ],
)
def test_texts_are_nearly_the_same_where_four_fifths_of_their_triples_are(other, same):
    assert share_one(LONG, other) == same


def test_short_texts_are_the_same_only_word_for_word():
    assert share_one("Fine.", "fine")
    assert not share_one("not good", "good")


def test_a_text_without_a_word_is_like_no_other():
    assert len(of_texts(["a", "b"], ["", "a good film"]).groupby("fingerprint")) == 2


def test_fingerprints_do_not_depend_on_the_order_of_the_cases():
    cases, texts = ["a", "b", "c"], [LONG, LONG + " year", "another one"]
    there, back = (
        of_texts(c, t).sort_values(["case", "fingerprint"], ignore_index=True)
        for c, t in ((cases, texts), (cases[::-1], texts[::-1]))
    )
    pd.testing.assert_frame_equal(there, back)


def test_arrays_are_the_same_where_every_number_and_the_shape_are():
    image = np.arange(6.0)
    changed = image.copy()
    changed[0] = 1e-9
    prints = of_arrays("abcd", [image, image.copy(), image.reshape(2, 3), changed])["fingerprint"]
    assert prints[0] == prints[1]
    assert prints.nunique() == 3
