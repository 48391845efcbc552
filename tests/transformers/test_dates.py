import random
from datetime import date

import pytest

from hour9.transformers.dates import (
    DAYS,
    FIRST,
    STYLES,
    in_german,
    in_numbers,
    ordinal,
    write_dates,
)

MAY_3 = date(2017, 5, 3)


def test_the_same_seed_writes_the_same_dates():
    first, again, other = write_dates(50, 0), write_dates(50, 0), write_dates(50, 1)
    assert first["sentences"].equals(again["sentences"])
    assert not first["sentences"].equals(other["sentences"])


def test_no_day_stands_twice_and_every_style_occurs():
    cases = write_dates(1000, 0)["cases"]
    assert cases["target"].is_unique
    assert set(cases["group.style"]) == set(STYLES)
    assert cases["target"].map(date.fromisoformat).min() >= FIRST


@pytest.mark.parametrize(
    ("number", "text"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (11, "11th"), (13, "13th"), (22, "22nd")],
)
def test_ordinals_are_english(number, text):
    assert ordinal(number) == text


def test_a_text_means_one_day():
    """What the rules promise: the same text never stands for two days, in the whole calendar."""
    tables = write_dates(DAYS, 0)
    pairs = tables["sentences"].merge(tables["cases"], on="case")
    assert pairs.groupby("text")["target"].nunique().max() == 1


def test_the_day_comes_first_but_between_slashes():
    chance = random.Random(0)
    texts = {in_numbers(MAY_3, chance) for _ in range(500)}
    assert {"3.5.2017", "03-05-17", "5/3/2017", "2017/05/03", "20170503"} <= texts
    assert not {"5.3.2017", "3/5/2017"} & texts


def test_german_dates_name_the_weekday():
    texts = {in_german(MAY_3, random.Random(i)) for i in range(100)}
    assert "Mittwoch, den 3. Mai 2017" in texts


def test_more_days_than_there_are_is_refused():
    with pytest.raises(ValueError, match=f"there are {DAYS} days"):
        write_dates(DAYS + 1, 0)
