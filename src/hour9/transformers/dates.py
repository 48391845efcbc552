# ruff: noqa: SIM905 - a word list reads better as a text
"""Dates as people write them, and as ISO 8601 does: `3 May '17` is 2017-05-03.

One rule for each way of writing makes every text mean one day: numbers between points or dashes
begin with the day, between slashes with the month (as in America) unless the year stands first,
and a year of two digits lies between 1950 and 2049. No day stands twice, so that a test asks for
days that the training never saw.
"""

import random
from collections.abc import Callable
from datetime import date, timedelta

import pandas as pd

from hour9.params import Refused

FIRST, DAYS = date(1950, 1, 1), 36_525  # a hundred years, so that two digits name one year
LANGUAGES = {
    "english": "January February March April May June July August September October November "
    "December".split(),
    "german": "Januar Februar März April Mai Juni Juli August September Oktober November "
    "Dezember".split(),
    "french": "janvier février mars avril mai juin juillet août septembre octobre novembre "
    "décembre".split(),
}
WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
WOCHENTAGE = "Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag".split()
ROMAN = "I II III IV V VI VII VIII IX X XI XII".split()
ONES = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth "
    "fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth"
).split()
ORDINALS = [*ONES, "twentieth", *(f"twenty-{one}" for one in ONES[:9]), "thirtieth", "thirty-first"]


def year(day: date, chance: random.Random) -> str:
    """Four digits, or now and then two."""
    return chance.choice([f"{day:%Y}", f"{day:%Y}", f"{day:%y}"])


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th."""
    teen = number // 10 == 1
    return f"{number}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def in_numbers(day: date, chance: random.Random) -> str:
    """3.5.2017, 03-05-17, 5/3/2017, 2017/05/03, 20170503."""
    if chance.random() < 0.2:
        return chance.choice([f"{day:%Y/%m/%d}", f"{day:%Y%m%d}", f"{day:%Y %m %d}"])
    mark = chance.choice("./-")
    parts = [day.month, day.day] if mark == "/" else [day.day, day.month]
    width = chance.choice([1, 2])
    return mark.join([*(f"{part:0{width}}" for part in parts), year(day, chance)])


def in_english(day: date, chance: random.Random) -> str:
    """May 3, 2017; Wed 3 May '17; the 3rd of May, 2017; 3-MAY-2017."""
    month = LANGUAGES["english"][day.month - 1]
    month = chance.choice([month, month[:3]])
    weekday = WEEKDAYS[day.weekday()]
    text = chance.choice(
        [
            f"{month} {day.day}, {day:%Y}",
            f"{month} {ordinal(day.day)}, {day:%Y}",
            f"{day.day} {month} {day:%Y}",
            f"{day.day} {month} '{day:%y}",
            f"the {ordinal(day.day)} of {month}, {day:%Y}",
            f"{weekday}, {month} {day.day}, {day:%Y}",
            f"{weekday[:3]} {day.day} {month} {day:%Y}",
            f"{day.day:02}-{month[:3]}-{year(day, chance)}",
            f"{day:%Y} {month} {day.day}",
        ]
    )
    return chance.choice([text, text, text.lower(), text.upper()])


def in_words(day: date, chance: random.Random) -> str:
    """the twenty-third of May 2017; May third, 2017."""
    month, word = LANGUAGES["english"][day.month - 1], ORDINALS[day.day - 1]
    return chance.choice([f"the {word} of {month} {day:%Y}", f"{month} {word}, {day:%Y}"])


def in_german(day: date, chance: random.Random) -> str:
    """3. Mai 2017; Mittwoch, den 3. Mai 2017; am 3. Mai 17."""
    text = f"{day.day}. {LANGUAGES['german'][day.month - 1]} "
    before = chance.choice(["", "", "am ", f"{WOCHENTAGE[day.weekday()]}, den "])
    return before + text + year(day, chance)


def in_french(day: date, chance: random.Random) -> str:
    """le 3 mai 2017; 1er mai 2017."""
    number = "1er" if day.day == 1 else str(day.day)
    before = chance.choice(["", "le "])
    return f"{before}{number} {LANGUAGES['french'][day.month - 1]} {day:%Y}"


def in_roman(day: date, chance: random.Random) -> str:
    """3.V.2017, 3 V 17."""
    mark = chance.choice(". ")
    return mark.join([str(day.day), ROMAN[day.month - 1], year(day, chance)])


STYLES: dict[str, tuple[Callable[[date, random.Random], str], int]] = {  # and how often, of 20
    "numbers": (in_numbers, 5),
    "english": (in_english, 7),
    "words": (in_words, 2),
    "german": (in_german, 2),
    "french": (in_french, 2),
    "roman": (in_roman, 2),
}


def write_dates(size: int, seed: int) -> dict[str, pd.DataFrame]:
    """The tables `sentences` and `cases` of `size` days, each written once."""
    if size > DAYS:
        raise Refused(f"source.size is {size}; there are {DAYS} days, set it to at most that")
    chance = random.Random(seed)
    ways, shares = list(STYLES), [share for _, share in STYLES.values()]
    sentences, cases = [], []
    for number in sorted(chance.sample(range(DAYS), size)):
        day = FIRST + timedelta(days=number)
        (style,) = chance.choices(ways, shares)
        case = f"day-{number:05d}"
        sentences.append((case, STYLES[style][0](day, chance)))
        cases.append((case, "", day.isoformat(), style))
    return {
        "sentences": pd.DataFrame(sentences, columns=["case", "text"]),
        "cases": pd.DataFrame(cases, columns=["case", "split", "target", "group.style"]),
    }
