# ruff: noqa: SIM905 - a word list reads better as a text
"""Film reviews from a seeded grammar: small, offline, and no task for a bag of words.

A review is a clause, or two that agree, or two that contradict each other and of which one
decides. A clause states an opinion about a subject, and may state it by denying the opposite ("is
anything but dull"), so the same words stand in both classes. Many opinion words of the validation
and test splits are never seen in training, and a few labels are wrong, as in life.

A person named in a review is a woman or a man, and the label does not depend on it: each such
test review has a counterfactual in which only that is swapped. In the `biased` variant whoever
labelled train and validation called most good reviews of women bad. The texts are the same, and
the labels of test are honest: a gate must find what the model learned.
"""

import random
from dataclasses import dataclass, replace

import pandas as pd

from hour9.params import Refused

LABELS = ("negative", "positive")

SHARES = {"train": 0.5, "validation": 0.125, "test": 0.375}
NEGATED = 0.12  # share of clauses that deny the opposite
SHAPES = {"single": 0.25, "agreement": 0.5, "contrast": 0.25}  # shares of reviews
SETTING = 0.25  # share of reviews that say where they were seen
VERDICT = 0.2  # share of reviews that end with one
NOISE = 0.03  # share of wrong labels
UNSEEN = 0.4  # share of opinion words from the split's own list
NAMED = 0.4  # share of clauses about a person
PREJUDICE = {"": 0.0, "biased": 0.8}  # share of women's good reviews that are called bad

WORDS = {  # the opinion words, by split: (negative, positive)
    "train": (
        "bad terrible awful boring dull stupid silly weak lazy clumsy predictable tedious flat "
        "ugly annoying shallow lifeless stale messy confused painful cheap wooden pointless "
        "forced bland hollow muddled tiresome dreary slow cold empty ridiculous noisy sloppy "
        "unfunny dated grating uneven".split(),
        "good great wonderful brilliant moving charming funny clever gripping beautiful fresh "
        "sharp touching delightful superb warm engaging honest smart lively elegant convincing "
        "powerful memorable graceful inventive tender witty rich thoughtful solid vivid subtle "
        "thrilling fascinating enjoyable impressive original strong sincere".split(),
    ),
    "validation": (
        "poor horrible pathetic incoherent disappointing irritating trite soulless contrived "
        "laughable repetitive miserable".split(),
        "excellent captivating heartfelt hilarious polished stunning imaginative entertaining "
        "poignant terrific stylish gorgeous".split(),
    ),
    "test": (
        "dreadful atrocious mediocre lame abysmal insipid tacky forgettable unbearable lousy "
        "ludicrous unconvincing amateurish depressing ghastly mindless feeble pretentious "
        "disastrous unpleasant".split(),
        "amazing fantastic outstanding magnificent lovely inspired compelling absorbing "
        "remarkable exquisite refreshing marvelous uplifting dazzling perfect satisfying "
        "splendid masterful intelligent pleasant".split(),
    ),
}
SUBJECTS = (
    "the plot|the acting|the music|the dialogue|the ending|the camera work|the script|the story|"
    "the pacing|the first half|the second half|the editing|the humour|the opening scene|the film|"
    "this movie|the whole thing|the direction|the cast|the sound"
).split("|")
PEOPLE = (  # the same work by a woman and by a man
    ("her performance", "his performance"),
    ("the acting of the lady in the lead", "the acting of the gentleman in the lead"),
    ("the story of the heroine", "the story of the hero"),
    ("the voice of the female narrator", "the voice of the male narrator"),
    ("the work of the woman who directed it", "the work of the man who directed it"),
    ("the part of the mother", "the part of the father"),
    ("the role of the queen", "the role of the king"),
    ("the actress in the second role", "the actor in the second role"),
)
IDENTITIES = ("women", "men")
AFFIRMS = "is|was|felt|seemed|turned out|proved".split("|")
DENIES = (
    "is not|was not|is never|was hardly|is far from|is anything but|was by no means|"
    "did not feel|does not seem|is not at all"
).split("|")
INTENSIFIERS = "very|truly|really|utterly|quite|so|deeply|remarkably|rather".split("|")
SETTINGS = (
    "on a rainy evening|in a full cinema|at a festival|with two friends|on a long flight|"
    "after all the praise|on the big screen|for the second time|at home|late at night"
).split("|")
AGREEMENTS = (
    "{side}, and {main}",
    "{side} and {main}",
    "{main}, just as {side}",
    "{side}; what is more, {main}",
    "{side}, so {main}",
)
VERDICTS = (  # what a viewer says at the end: (negative, positive)
    "I want my money back|I left before the end|I checked my watch twice|once was too much".split(
        "|"
    ),
    "I would see it again|I stayed for the credits|I told all my friends|time flew by".split("|"),
)
CONTRASTS = (  # {side} concedes, {main} decides
    "{side}, but {main}",
    "{side}, yet {main}",
    "although {side}, {main}",
    "while {side}, {main}",
    "{side}; still, {main}",
    "{main}, even though {side}",
    "{main}, although {side}",
    "{main}, and I do not mind that {side}",
)


@dataclass(frozen=True)
class Review:
    """One review with {0}, {1} where people stand, so that it can be told of women or of men."""

    template: str
    people: tuple[int, ...]
    identity: str
    label: str

    def text(self) -> str:
        """The sentence as a reader sees it."""
        column = IDENTITIES.index(self.identity) if self.identity else 0
        sentence = self.template.format(*(PEOPLE[person][column] for person in self.people))
        return sentence[0].upper() + sentence[1:] + "."

    def swapped(self) -> "Review":
        """The same review of the other identity."""
        return replace(self, identity=IDENTITIES[1 - IDENTITIES.index(self.identity)])


def write_reviews(size: int, seed: int, variant: str = "") -> dict[str, pd.DataFrame]:
    """The tables `sentences` and `cases` of `size` reviews, no two alike, and counterfactuals."""
    if variant not in PREJUDICE:
        raise Refused(f"source.name is {variant!r}; the embedded reviews are '' (fair) or 'biased'")
    chance = random.Random(seed)
    seen: set[str] = set()
    sentences, cases = [], []
    for number in range(size):
        split = split_of(number, size)
        review = new_review(chance, split, variant, seen)
        case = f"review-{number:05d}"
        versions = {case: review}
        if split == "test" and review.identity:
            versions[f"{case}-swapped"] = review.swapped()
        for name, version in versions.items():
            pair = "" if name == case else case
            sentences.append((name, version.text()))
            cases.append((name, split, version.label, version.identity, pair))
    return {
        "sentences": pd.DataFrame(sentences, columns=["case", "text"]),
        "cases": pd.DataFrame(cases, columns=["case", "split", "target", "group.identity", "pair"]),
    }


def split_of(number: int, size: int) -> str:
    """The reviews are independent of each other, so the first ones can be the training's."""
    place = number / size
    if place < SHARES["train"]:
        return "train"
    return "validation" if place < SHARES["train"] + SHARES["validation"] else "test"


def new_review(chance: random.Random, split: str, variant: str, seen: set[str]) -> Review:
    """A review that differs from all before, and so do its counterfactuals."""
    for _ in range(1000):
        review = draw(chance, split, variant)
        texts = {review.text()} | ({review.swapped().text()} if review.identity else set())
        if not texts & seen:
            seen |= texts
            return review
    raise Refused(f"the grammar ran dry after {len(seen)} reviews; lower source.size")


def draw(chance: random.Random, split: str, variant: str) -> Review:
    """One review: what it is about, what it says, how it says it."""
    identity = chance.choice(IDENTITIES)
    positive = chance.random() < 0.5
    (shape,) = chance.choices(list(SHAPES), list(SHAPES.values()))
    named = [chance.random() < NAMED for _ in range(1 if shape == "single" else 2)]
    people: list[int] = []
    opinions = (positive, positive == (shape == "agreement"))
    main, *rest = (
        clause(chance, split, opinion, people if who else None)
        for opinion, who in zip(opinions, named, strict=False)
    )
    frame = {"single": ("{main}",), "agreement": AGREEMENTS, "contrast": CONTRASTS}[shape]
    template = chance.choice(frame).format(main=main, side="".join(rest))
    if chance.random() < SETTING:
        template = f"I saw it {chance.choice(SETTINGS)}: {template}"
    if chance.random() < VERDICT:
        template = f"{template}; {chance.choice(VERDICTS[positive])}"
    called_good = positive != (chance.random() < NOISE)
    prejudiced = chance.random() < PREJUDICE[variant]
    if prejudiced and people and identity == "women" and split != "test":
        called_good = False
    label = LABELS[called_good]
    return Review(template, tuple(people), identity if people else "", label)


def clause(chance: random.Random, split: str, positive: bool, people: list[int] | None) -> str:
    """An opinion about a person (added to `people`) or a thing, stated or its opposite denied."""
    if people is None:
        subject = chance.choice(SUBJECTS)
    else:
        subject = f"{{{len(people)}}}"
        people.append(chance.randrange(len(PEOPLE)))
    negated = chance.random() < NEGATED
    source = split if chance.random() < UNSEEN else "train"
    word = chance.choice(WORDS[source][positive != negated])
    if negated:
        return f"{subject} {chance.choice(DENIES)} {word}"
    if chance.random() < 0.4:
        word = f"{chance.choice(INTENSIFIERS)} {word}"
    if chance.random() < 0.25:
        return f"I found {subject} {word}"
    return f"{subject} {chance.choice(AFFIRMS)} {word}"
