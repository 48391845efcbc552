"""What is copied is counted in spans of six words."""

import numpy as np

from hour9.transformers.copied import copied

LEARNED = ["the film is a slow and careful study of grief", "nobody leaves this hall unmoved today"]


def test_a_copy_has_a_share_of_one_and_a_text_of_ones_own_none():
    own = "a slow film is the careful study of grief and"
    np.testing.assert_array_equal(copied([LEARNED[0], own], LEARNED), [1, 0])


def test_a_partial_copy_counts_by_its_spans():
    """'film is a slow and careful' is the one of three spans that was learned."""
    text = "one film is a slow and careful man"
    np.testing.assert_allclose(copied([text], LEARNED), [1 / 3])


def test_a_span_does_not_reach_from_one_text_into_the_next():
    across = " ".join([*LEARNED[0].split()[-3:], *LEARNED[1].split()[:3]])
    np.testing.assert_array_equal(copied([across], LEARNED), [0])


def test_a_text_too_short_to_copy_a_span_says_nothing():
    assert np.isnan(copied(["the film is"], LEARNED)).all()
