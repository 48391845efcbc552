"""Texts as people type them in a hurry: letters swapped, lost or doubled, capitals at random."""

import random

TYPOS = 0.1  # share with one, of the words that may have one
SHOUTED = 0.1  # share of words in capitals
SHORTEST = 4  # letters, and nothing else, of such a word: a shorter one may become another word


def hurried(text: str, chance: random.Random) -> str:
    """A tenth of the words in capitals, and a typo in a tenth of those that may have one."""
    words = [typo(word, chance) if chance.random() < TYPOS else word for word in text.split(" ")]
    return " ".join(word.upper() if chance.random() < SHOUTED else word for word in words)


def typo(word: str, chance: random.Random) -> str:
    """Two neighbouring letters change places, or one is lost, or doubled; never the first."""
    if len(word) < SHORTEST or not word.isalpha():
        return word
    at = chance.randrange(1, len(word) - 1)
    kind = chance.choice(("swap", "lose", "double"))
    if kind == "swap":
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return word[:at] + word[at + 1 :] if kind == "lose" else word[: at + 1] + word[at:]
