"""Texts to learn to continue: the reviews of the project's own grammar, or any text file.

Tables: `cases`, whose target is a passage of some document, and `reference`, what a model may read
before: the Python language reference, which ships inside CPython.
"""

import re
from pathlib import Path

import pandas as pd

from hour9.sources.splits import (
    CARVED,
    files_of,
    hidden,
    split_of,
    tell_left_out,
    tell_splits,
)
from hour9.sources.text import TextRefused, decode
from hour9.task import Source, Tables
from hour9.transformers.copied import spans
from hour9.transformers.reviews import write_reviews

FILE = re.compile(r"\.(txt|text|md|tokens|raw)(\.gz)?$", re.IGNORECASE)
LONGEST = 1000  # characters of a passage of a long document
Shares = dict[str, float]  # of a file, from its beginning
SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}  # where it is given by itself
TESTED = 4  # times as many reviews to test as belong to those that are learned from
HELD_OUT = 10  # every tenth topic of the reference is for validation
WITHIN = 0.1  # share of a topic's six-word spans; with more in longer ones, it is a part of them


def review_passages(source: Source) -> Tables:
    """A passage for each review; who it is about is a group, as in `sentiment`.

    Half of `source.size` are learned from, as in `sentiment`; the test takes four times as many as
    there, as what a gate can tell grows with it. Without the counterfactuals: the probes ask
    whether an identity matters.
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
    """One text file, cut into train, validation and test; or a folder of files for each.

    Raises SourceRefused.
    """
    root = Path(source.root)
    if root.is_file():
        shares = {root: SHARES}
    elif root.is_dir():
        shares = shares_in(root)
    else:
        raise TextRefused(f"'{root}' does not exist; set source.root to a text file or a folder")
    cases = pd.concat([cases_of(*item) for item in shares.items()], ignore_index=True)
    return {"cases": cases, "reference": language_reference()}


def shares_in(root: Path) -> dict[Path, Shares]:
    """The files of a folder whose names speak of a split; all others are left out, aloud.

    Files named train alone are each cut into all three, as a file that is given by itself. Without
    a test, validation is the test; without a validation, the end of each file to train is it.
    """
    splits = {path: split for path in files_of(root, FILE.search) if (split := split_of(path.name))}
    if "train" not in splits.values():
        raise TextRefused(
            f"'{root}' holds no text files named train…; name them train…, validation…, test…"
        )
    others = sorted(p.name for p in root.iterdir() if p not in splits and not hidden(p.name))
    tell_left_out(root, others, "no text files, or named for no split")
    tell_splits({path.name: split for path, split in splits.items()})
    named = set(splits.values())
    if named == {"train"}:
        return dict.fromkeys(splits, SHARES)
    called = {} if "test" in named else {"validation": "test"}
    splits = {path: called.get(split, split) for path, split in splits.items()}
    whole = "validation" in splits.values()
    train = {"train": 1.0} if whole else {"train": 1 - CARVED, "validation": CARVED}
    return {path: train if its == "train" else {its: 1.0} for path, its in splits.items()}


def cases_of(path: Path, shares: Shares) -> pd.DataFrame:
    """The passages of a file, cut into these shares."""
    texts = cut(decode(path).replace("\r\n", "\n"), shares)
    tables = {its: passages(path.name, its, part) for its, part in texts.items()}
    if empty := [its for its, table in tables.items() if table.empty]:
        raise TextRefused(f"{path} holds no text for {', '.join(empty)}; add some to the file")
    return pd.concat(tables.values())


def cut(text: str, shares: Shares) -> dict[str, str]:
    """One share after the other: what is near each other stays together."""
    texts, start = {}, 0.0
    for split, share in shares.items():
        stop = start + share
        texts[split] = text[round(start * len(text)) : round(stop * len(text))]
        start = stop
    return texts


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
    """The topics of Python's `help()`: 0.4 MB of technical English and code.

    Many stand within longer ones as well, word for word. They are left out: what is held out would
    else have been read.
    """
    from pydoc_data.topics import topics

    kept: dict[str, str] = {}  # text: topic
    known: set[str] = set()
    for topic, text in sorted(topics.items(), key=lambda item: (-len(item[1]), item)):
        told = spans(text)
        if text in kept or sum(span in known for span in told) > WITHIN * len(told):
            continue
        kept[text] = topic
        known.update(told)
    texts = sorted(kept, key=lambda text: kept[text])
    table = pd.DataFrame({"topic": [kept[text] for text in texts], "text": texts})
    held_out = table.index % HELD_OUT == HELD_OUT - 1
    return table.assign(split=["validation" if held else "train" for held in held_out])


def documents(cases: pd.DataFrame, split: str) -> list[str]:
    """The split's passages, those of a document joined again."""
    return cases[cases["split"] == split].groupby("document", sort=False)["target"].sum().tolist()
