"""Requests with a text in each: what all tasks over texts refuse, and how they say so."""

from unicodedata import category

import pandas as pd

from hour9.wording import some


def texts_of(requests: pd.DataFrame, longest: int) -> list[str]:
    """The column `text`, if each row holds a text of at most `longest` characters.

    Raises ValueError, which says which rows do not, and why.
    """
    if "text" not in requests:
        raise ValueError(f"a request needs the column 'text'; got {', '.join(requests.columns)}")
    texts = requests["text"].tolist()
    faults = [
        f"row {row} {fault}"
        for row, text in enumerate(texts)
        if (fault := unreadable(text, longest))
    ]
    if faults:
        raise ValueError(f"{some(faults, '; ')}: send a text in each")
    return texts


def unreadable(text: object, longest: int) -> str:
    """What is wrong with a text; empty where nothing is."""
    if not (isinstance(text, str) and any(map(visible, text))):
        return "holds no text"
    if len(text) > longest:
        return f"has {len(text):,} characters, more than {longest:,}"
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        return "holds bytes that are no UTF-8"
    return ""


def visible(letter: str) -> bool:
    """Neither a space, nor a control or format character such as a zero-width space."""
    return not letter.isspace() and category(letter) not in ("Cc", "Cf")
