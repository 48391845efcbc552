import numpy as np
import pytest

from hour9.transformers.ngram import ByteNgrams


def test_the_probabilities_of_a_small_text_are_those_worked_out_by_hand():
    """After 'aab': n(a) = 2, n(b) = 1, and two different bytes have followed the empty context."""
    model = ByteNgrams(["aab"], longest=1)
    single = (1 + 2 / 256) / (3 + 2)  # P(b), once of three
    after_a = (1 + 2 * single) / (2 + 2)  # P(b | a): one of the two bytes that followed an a
    first = (2 + 2 / 256) / (3 + 2)  # P(a)
    bits = model.bits_per_byte("ab")
    assert bits[0] == pytest.approx(-np.log2(first * single) / 2)
    assert bits[1] == pytest.approx(-np.log2(first * after_a) / 2)


@pytest.mark.parametrize("start", ["", "th", "the", "q\xff"])
def test_the_probabilities_of_all_bytes_sum_to_one(start):
    model = ByteNgrams(["the theme of the thesis", "then"], longest=3)
    before = model.bits_per_byte(start)[-1] * len(start.encode()) if start else 0.0
    after = [model.bits_per_byte(start + chr(i)) for i in range(128)]  # one byte each
    size = len(start.encode()) + 1
    shares = 2.0 ** -np.array([bits[-1] * size - before for bits in after])
    unseen = shares.min()  # bytes above 127 never occurred either
    assert shares.sum() + 128 * unseen == pytest.approx(1)


def test_a_text_that_was_counted_costs_little_and_noise_costs_eight_bits():
    model = ByteNgrams(["never the same twice"] * 50, longest=5)
    assert model.bits_per_byte("never the same twice")[-1] < 0.5
    assert ByteNgrams([], longest=2).bits_per_byte("anything") == pytest.approx([8, 8, 8])
