"""Texts to learn to continue: the reviews of the project's own grammar, or any text file.

Tables: `cases`, whose target is a passage of some document, and `reference`, what a model may read
before: the Python language reference, which ships inside CPython.
"""

import re
from pathlib import Path

import pandas as pd

from hour9.sources.text import TextRefused, decode, split_of
from hour9.task import Source, Tables
from hour9.transformers.reviews import write_reviews

FILE = re.compile(r"\.(txt|text|md|tokens|raw)(\.gz)?$", re.IGNORECASE)
LONGEST = 1000  # characters of a passage of a long document
SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}  # of a single file, from its beginning
TESTED = 4  # times as many reviews to test as belong to those that are learned from
HELD_OUT = 10  # every tenth topic of the reference is for validation


def review_passages(source: Source) -> Tables:
    """A passage for each review; who it is about is a group, as in `sentiment`.

    `source.size` says how many are learned from; the test takes more, as what a gate can tell grows
    with it. Without the counterfactuals: the probes ask whether an identity matters.
    """
    tables = write_reviews(TESTED * source.size, source.seed, source.name)
    cases = tables["cases"].merge(tables["sentences"], on="case", validate="1:1")
    cases = cases[cases["pair"] == ""].drop(columns=["target", "pair"])
    place = cases.groupby("split").cumcount()
    few = cases["split"].map(cases["split"].value_counts()) // TESTED
    cases = cases[(cases["split"] == "test") | (place < few)]
    cases = cases.rename(columns={"text": "target"}).reset_index(drop=True)
    return {"cases": cases.assign(document=cases["case"]), "reference": language_reference()}


def file_passages(source: Source) -> Tables:
    """One text file, cut into train, validation and test; or a folder with a file for each.

    Raises TextRefused.
    """
    root = Path(source.root)
    if root.is_file():
        cases = pd.concat(
            [passages(root.name, split, text) for split, text in shares_of(decode(root)).items()]
        )
    elif root.is_dir():
        files = [p for p in sorted(root.iterdir()) if FILE.search(p.name) and split_of(p.name)]
        if not files:
            raise TextRefused(f"'{root}' holds no text files named train…, validation…, test…")
        cases = pd.concat([passages(p.name, split_of(p.name), decode(p)) for p in files])
    else:
        raise TextRefused(f"'{root}' does not exist; set source.root to a text file or a folder")
    return {"cases": cases.reset_index(drop=True), "reference": language_reference()}


def shares_of(text: str) -> dict[str, str]:
    """The text's beginning to train, its end to test: what is near each other stays together."""
    shares, start = {}, 0.0
    for split, share in SHARES.items():
        stop = start + share
        shares[split] = text[round(start * len(text)) : round(stop * len(text))]
        start = stop
    return shares


def passages(name: str, split: str, text: str) -> pd.DataFrame:
    """A document as passages of at most LONGEST characters, cut after a line where one ends.

    Passages of white space alone are left out.
    """
    pieces = re.findall(rf"(?s).{{1,{LONGEST - 1}}}(?:\n|\Z)|.{{1,{LONGEST}}}", text)
    rows = [(f"{name}:{split}:{i:06d}", split, p) for i, p in enumerate(pieces) if p.strip()]
    return pd.DataFrame(rows, columns=["case", "split", "target"]).assign(
        document=f"{name}:{split}"
    )


def language_reference() -> pd.DataFrame:
    """The topics of Python's `help()`: 0.5 MB of technical English and code."""
    from pydoc_data.topics import topics

    texts = {topic: text for text, topic in sorted((t, n) for n, t in topics.items())}
    unique = {text: topic for topic, text in sorted(texts.items())}
    table = pd.DataFrame({"topic": list(unique.values()), "text": list(unique)})
    held_out = table.index % HELD_OUT == HELD_OUT - 1
    return table.assign(split=["validation" if held else "train" for held in held_out])


def documents(cases: pd.DataFrame, split: str) -> list[str]:
    """The split's passages, those of a document joined again."""
    return cases[cases["split"] == split].groupby("document", sort=False)["target"].sum().tolist()
