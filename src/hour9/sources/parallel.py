"""Parallel texts: two files of which line n of one is the translation of line n of the other.

`train.en.gz` and `train.de.gz`, `val.en` and `val.de`: the first word of a name that speaks of a
split decides it, the ending the language. `source.name` says from what to what: `en-de`.
"""

import re
import sys
from pathlib import Path

import pandas as pd

from hour9.engine.settings import Source
from hour9.sources.splits import (
    files_of,
    split_of,
    splits_of,
    tell_left_out,
    tell_splits,
    with_all_splits,
)
from hour9.sources.text import TextRefused, decode

LONGEST = 2000  # letters of a sentence


def parallel_texts(source: Source) -> pd.DataFrame:
    """The columns case, text, translation and split. Raises SourceRefused."""
    root, (one, other) = Path(source.root), languages(source.name)
    if not root.is_dir():
        raise TextRefused(f"'{root}' is no folder; set source.root to one with parallel texts")
    pairs = find_pairs(root, one, other)
    if not pairs:
        raise TextRefused(
            f"'{root}' holds no two files that end in .{one} and .{other}, or in .{one}.gz and "
            f".{other}.gz, and are called the same otherwise"
        )
    tell_splits(splits_of(root, [text.name for text, _ in pairs.values()]))
    tables = [read_pair(stem, *paths) for stem, paths in pairs.items()]
    return with_all_splits(pd.concat(tables, ignore_index=True), source.seed)


def languages(name: str) -> tuple[str, str]:
    """`en-de` as a pair."""
    one, dash, other = name.partition("-")
    if not (one.isalnum() and dash and other.isalnum() and one != other):
        raise TextRefused(f"source.name is '{name}'; say from what to what, e.g. en-de")
    return one, other


def find_pairs(root: Path, one: str, other: str) -> dict[str, tuple[Path, Path]]:
    """Two files for each name that stands before the endings; a file alone is left out, aloud."""
    texts, translations = (files_in(root, language) for language in (one, other))
    alone = [
        path.name
        for files, siblings in ((texts, translations), (translations, texts))
        for stem, path in files.items()
        if stem not in siblings
    ]
    tell_left_out(root, alone, "not there in the other language")
    return {stem: (texts[stem], translations[stem]) for stem in texts if stem in translations}


def files_in(root: Path, language: str) -> dict[str, Path]:
    """The files in a language, by what their names are without its ending."""
    ending = re.compile(rf"\.{language}(\.gz)?$")
    return {ending.sub("", path.name): path for path in files_of(root, ending.search)}


def read_pair(stem: str, one: Path, other: Path) -> pd.DataFrame:
    """A row for each line; a line that is empty in either language is left out, aloud."""
    texts, translations = (lines(path) for path in (one, other))
    if len(texts) != len(translations):
        raise TextRefused(
            f"{one} has {len(texts)} lines and {other} {len(translations)}; line n of one must be "
            "the translation of line n of the other"
        )
    table = pd.DataFrame(
        {
            "case": [f"{stem}:{number}" for number in range(1, len(texts) + 1)],
            "text": texts,
            "translation": translations,
            "split": split_of(stem),
        }
    )
    fits = table[["text", "translation"]].apply(lambda column: column.str.len().between(1, LONGEST))
    whole = fits.all(axis=1)
    if not whole.all():
        number = int((~whole).sum())
        print(f"{one.name}: {number} lines are empty or over {LONGEST} letters", file=sys.stderr)
    return table[whole]


def lines(path: Path) -> list[str]:
    """Only a line feed ends a line. Blank ones at the end are none."""
    return [line.strip() for line in decode(path).rstrip().split("\n")]
