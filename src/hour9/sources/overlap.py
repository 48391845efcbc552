"""Training texts that stand, word for word, within a held-out one.

GLUE's SST-2 is made of phrases: of a sentence that is tested, some may have been learned.
"""

import re
from collections.abc import Iterable, Sequence

import pandas as pd


def apart(table: pd.DataFrame) -> pd.DataFrame:
    """The table without the training texts that are part of a validation or test text.

    Columns `text` and `split`. Letters and digits count, in either case; punctuation does not.
    """
    train = table["split"] == "train"
    found = parts_of(table.loc[train, "text"].tolist(), table.loc[~train, "text"].tolist())
    return table.drop(index=table.index[train][found]).reset_index(drop=True)


def parts_of(texts: Sequence[str], wholes: Iterable[str]) -> list[bool]:
    """Whether each text's words stand in this order, next to each other, in one of `wholes`.

    Only the wholes that share the text's rarest word are looked at.
    """
    lines = list(dict.fromkeys(map(plain, wholes)))
    holds: dict[str, list[str]] = {}
    for line in lines:
        for word in set(line.split()):
            holds.setdefault(word, []).append(line)

    def is_part(line: str) -> bool:
        places = [holds.get(word, []) for word in line.split()]
        return any(line in whole for whole in min(places, key=len, default=[]))

    known = {line: is_part(line) for line in set(map(plain, texts))}
    return [known[plain(text)] for text in texts]


def plain(text: str) -> str:
    """The words alone, with a blank on either side of each."""
    words = re.findall(r"[^\W_]+", text.casefold())
    return f" {' '.join(words)} "
