"""Labelled texts as people keep them: a file, a folder or a hub, to `case, text, label, split`.

`train.tsv`, `dev.csv.gz`, `test.parquet`, `test_labelled.jsonl`: the first word of a file's name
decides its split.
A header is optional, a column for the row number harmless, a label is 0, 1 or a word. Quotes are
characters in a .tsv and quotes in a .csv. Files without labels are left out, aloud.

A case is named by its file and line, so that it can be found.
"""

import csv
import gzip
import io
import json
import re
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from hour9.engine.settings import Source
from hour9.sources.overlap import apart
from hour9.sources.splits import SourceRefused, files_of, split_of, splits_of, with_all_splits
from hour9.wording import some

TEXT_NAMES = ("text", "sentence", "review", "content", "comment", "phrase", "tweet")
LABEL_NAMES = ("label", "labels", "sentiment", "target", "polarity", "class")
LABEL_WORDS = {
    **dict.fromkeys(("0", "0.0", "false", "neg", "negative"), "negative"),
    **dict.fromkeys(("1", "1.0", "true", "pos", "positive"), "positive"),
}
NO_LABEL = ("", "-1")  # what Hugging Face and GLUE write where a label is withheld
FILE = re.compile(r"\.((tsv|csv|jsonl)(\.gz)?|parquet)$", re.IGNORECASE)
READ = ".tsv, .csv, .jsonl (or these with .gz) or .parquet file"
DELIMITERS = ",;\t"
FIRST = 20  # records that the delimiter is chosen by
WORD = r"\w+|[^\w\s]"  # for scikit-learn, whose own words have two letters at least

Row = tuple[int, list[str]]
"""A line number and the cells that begin there."""


class TextRefused(SourceRefused):
    """The texts cannot be read; the message says where, and what to do."""


@dataclass(frozen=True)
class Part:
    """What one file gave. `table` has the columns case, text, label; without labels it is None."""

    name: str
    split: str
    table: pd.DataFrame | None


def labelled_texts(source: Source) -> pd.DataFrame:
    """The columns case, text, label (negative or positive) and split. Raises SourceRefused."""
    parts = of_hub(source.name) if source.kind == "hub" else of_path(Path(source.root))
    table = settle(parts, source.seed)
    return kept_apart(table, source) if source.apart else table


def kept_apart(table: pd.DataFrame, source: Source) -> pd.DataFrame:
    """Without the training texts that stand within others; says how many they were."""
    if not table["split"].all():
        raise TextRefused(
            f"'{source.root}' names no splits to keep apart; set source.apart to false, or name "
            "the files train, validation and test"
        )
    kept = apart(table)
    before, after = ((t["split"] == "train").sum() for t in (table, kept))
    print(
        f"{before - after} of {before} training texts stand within one of validation or test and "
        "are left out",
        file=sys.stderr,
    )
    return kept


def settle(parts: Sequence[Part], seed: int) -> pd.DataFrame:
    """Put the labelled parts together and see that there is a train, a validation and a test."""
    tables = [p.table.assign(split=p.split) for p in parts if p.table is not None]
    if not tables:
        raise TextRefused(f"no labels in {', '.join(p.name for p in parts)}; add a column 'label'")
    for part in parts:
        if part.table is None:
            print(f"{part.name} has no labels and is left out", file=sys.stderr)
    table = pd.concat(tables, ignore_index=True)
    return with_all_splits(table, seed)


# A folder or a file


def of_path(root: Path) -> list[Part]:
    """The parts of a file, of a folder of files, or of a folder of `pos` and `neg` folders."""
    if root.is_file():
        if not FILE.search(root.name):
            raise TextRefused(f"{root} is no {READ}; convert it, one text and one label a line")
        return [read_file(root, split="")]
    if not root.is_dir():
        raise TextRefused(f"'{root}' does not exist; set source.root to a file or a folder")
    if parts := list(of_class_folders(root)):
        return parts
    paths = files_of(root, FILE.search)
    if not paths:
        folders = ", ".join(sorted(path.name for path in root.iterdir() if path.is_dir()))
        raise TextRefused(
            f"'{root}' holds no {READ} and no folders pos and neg; "
            f"set source.root to a folder that does (folders here: {folders or 'none'})"
        )
    splits = splits_of(root, [path.name for path in paths])
    return [read_file(path, splits[path.name]) for path in paths]


def of_class_folders(root: Path) -> Iterator[Part]:
    """A text file a case, in a folder that is its label, as in the original IMDb."""
    for folder in (root, *sorted(path for path in root.iterdir() if split_of(path.name))):
        if not ((folder / "pos").is_dir() and (folder / "neg").is_dir()):
            continue
        rows = [
            (path.relative_to(root).as_posix(), decode(path).strip(), LABEL_WORDS[label])
            for label in ("neg", "pos")
            for path in files_of(folder / label, lambda name: name.endswith(".txt"))
        ]
        table = pd.DataFrame(rows, columns=["case", "text", "label"])
        yield Part(folder.name, "" if folder == root else split_of(folder.name), table)


def read_file(path: Path, split: str) -> Part:
    """One file, whatever its columns are called, or if they are called at all."""
    rows = [(line, cells) for line, cells in rows_of(path) if any(cell.strip() for cell in cells)]
    if not rows:
        raise TextRefused(f"{path} is empty; it needs a text and a label in each line")
    columns, rows = find_columns(rows, path)
    texts = [(line, cells[columns["text"]].strip()) for line, cells in same_width(rows, path)]
    if "label" not in columns:
        return Part(path.name, split, None)
    words = [cells[columns["label"]].strip().lower() for _, cells in rows]
    if all(word in NO_LABEL for word in words):
        return Part(path.name, split, None)
    problems = [
        f"line {line}: " + ("no text" if not text else f"{word!r} is no label")
        for (line, text), word in zip(texts, words, strict=True)
        if not text or word not in LABEL_WORDS
    ]
    refuse(path, problems, f"a label is one of {', '.join(LABEL_WORDS)}; {NAME_COLUMNS}")
    table = pd.DataFrame(
        {
            "case": [f"{path.name}:{line}" for line, _ in texts],
            "text": [text for _, text in texts],
            "label": [LABEL_WORDS[word] for word in words],
        }
    )
    return Part(path.name, split, table)


NAME_COLUMNS = "if the file has a header, call its columns 'text' and 'label'"
HEADER = "give the file a header, with the columns 'text' and 'label'"


def find_columns(rows: list[Row], path: Path) -> tuple[dict[str, int], list[Row]]:
    """Where text and label stand, and the rows without the header, if there is one.

    The first line is a header where a cell is a known name of a column and none is a label: of
    'sentence, label' and of 'index, sentence', but not of 'a review, 1'.
    """
    line, first = rows[0]
    names = [cell.strip().lower() for cell in first]
    text = next((names.index(name) for name in TEXT_NAMES if name in names), None)
    label = next((names.index(name) for name in LABEL_NAMES if name in names), None)
    if not any(name in LABEL_WORDS for name in names):
        if text is not None:
            columns = {"text": text} if label is None else {"text": text, "label": label}
            return columns, rows[1:]
        if label is not None:
            raise TextRefused(
                f"{path}, line {line}: no column of texts among {', '.join(names)}; {NAME_COLUMNS}"
            )
    return guess_columns(rows, path), rows


def guess_columns(rows: list[Row], path: Path) -> dict[str, int]:
    """Without a header: the label is the column with most labels, the text the longest one."""
    width = range(len(rows[0][1]))
    whole = [cells for _, cells in rows if len(cells) == len(width)]
    labels = [sum(c[i].strip().lower() in LABEL_WORDS for c in whole) for i in width]
    length = [sum(len(c[i]) for c in whole) for i in width]
    text = max(width, key=length.__getitem__)
    others = sorted((i for i in width if i != text), key=labels.__getitem__, reverse=True)
    alike = [str(i + 1) for i in others if labels[i] == labels[others[0]] == len(whole)]
    if len(alike) > 1:
        raise TextRefused(f"{path}: columns {' and '.join(alike)} both hold labels; {HEADER}")
    return {"text": text} | ({"label": others[0]} if others else {})


def same_width(rows: list[Row], path: Path) -> list[Row]:
    """The rows, which all have as many cells as the first."""
    width = len(rows[0][1]) if rows else 0
    problems = [f"line {n}: {len(c)} columns, not {width}" for n, c in rows if len(c) != width]
    refuse(path, problems, "take separators out of the text, or quote it and call the file .csv")
    return rows


def refuse(path: Path, problems: list[str], cure: str) -> None:
    """Raise TextRefused with the first problems and their number, if there are any."""
    if problems:
        raise TextRefused(f"{path}, {some(problems, '; ')}; {cure}")


def rows_of(path: Path) -> Iterator[Row]:
    """The cells of a file, by lines."""
    name = path.name.lower()
    if name.endswith(".parquet"):
        return parquet_rows(path)
    rows = json_rows if ".jsonl" in name else comma_rows if ".csv" in name else tab_rows
    return rows(decode(path), path)


def parquet_rows(path: Path) -> Iterator[Row]:
    """The names of the columns, then the rows, counted from 1."""
    try:
        table = pd.read_parquet(path)
    except (ValueError, OSError) as error:
        raise TextRefused(f"{path} is no Parquet file: {error}") from None
    yield 0, [str(name) for name in table]
    cells = table.astype(object).where(table.notna(), "").astype(str)
    yield from ((row, [*cell]) for row, cell in enumerate(cells.itertuples(index=False), start=1))


def json_rows(text: str, path: Path) -> Iterator[Row]:
    """The names of the first line's object, then the values of each line's under these names."""
    names: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise TextRefused(f"{path}, line {number}: {error}; write an object a line") from None
        if not isinstance(found, dict):
            raise TextRefused(f'{path}, line {number}: no object, such as {{"text": …}}')
        if not names:
            names = [*found]
            yield 0, names
        values = (found.get(name) for name in names)
        yield number, ["" if value is None else str(value) for value in values]


def tab_rows(text: str, path: Path) -> Iterator[Row]:
    """Lines cut at tabs. A quote is a character; only a line feed ends a line."""
    lines = text.split("\n") if "\n" in text else text.split("\r")
    for number, line in enumerate(lines, start=1):
        yield number, line.removesuffix("\r").split("\t")


def comma_rows(text: str, path: Path) -> Iterator[Row]:
    """Records of a CSV file, with the line where each begins; a quoted cell may hold line ends."""
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    reader = records(text, max(DELIMITERS, key=lambda delimiter: fit(text, delimiter)))
    begins = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise TextRefused(
                f"{path}, line {begins}: {error}; close the quotes, and double those inside a text"
            ) from None
        yield begins, cells
        begins = reader.line_num + 1


def records(text: str, delimiter: str) -> Any:
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)


def fit(text: str, delimiter: str) -> tuple[int, int]:
    """How many of the first records it cuts into the same number of cells, above 1, and how many
    of these have a label: 'good, really;1' is two cells either way."""
    rows: list[list[str]] = []
    with suppress(csv.Error):
        rows.extend(islice(records(text, delimiter), FIRST))
    widths = [len(row) for row in rows]
    width = max(widths, key=widths.count, default=0)
    alike = [row for row in rows if len(row) == width > 1]
    labels = [any(cell.strip().lower() in LABEL_WORDS for cell in row) for row in alike]
    return len(alike), sum(labels)


def decode(path: Path) -> str:
    """The file as text: UTF-8, UTF-16 with its mark, else the old Windows encoding, aloud.

    Raises TextRefused.
    """
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (EOFError, OSError, zlib.error) as error:
            raise TextRefused(f"{path} is no whole gzip file ({error}); fetch it again") from None
    wide = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = raw.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        if wide:
            raise TextRefused(
                f"{path} begins as UTF-16 but is not ({error.reason}); save it as UTF-8"
            ) from None
        line = raw.count(b"\n", 0, error.start) + 1
        text = decode_old(raw, f"{path}, line {line}")
    if "\0" in text:
        raise TextRefused(
            f"{path} holds NUL bytes: it is no text, or UTF-16 without its mark; save it as UTF-8"
        )
    return text


def decode_old(raw: bytes, where: str) -> str:
    """The old Windows encoding, aloud."""
    try:
        text = raw.decode("cp1252")
    except UnicodeDecodeError:
        raise TextRefused(f"{where}: not UTF-8; save the file as UTF-8") from None
    print(f"{where}: not UTF-8, read as Windows-1252", file=sys.stderr)
    return text


# A hub


def of_hub(name: str) -> list[Part]:
    """Download a data set of Hugging Face: `owner/set`, or `owner/set:configuration`."""
    from datasets import load_dataset

    repository, _, configuration = name.partition(":")
    loaded = load_dataset(repository, configuration or None)
    return [of_dataset(split, rows) for split, rows in loaded.items()]


def of_dataset(name: str, rows: Any) -> Part:
    """One split of a data set, with the columns and label names that it declares."""
    columns = {column.lower(): column for column in rows.column_names}
    text = next((columns[name] for name in TEXT_NAMES if name in columns), None)
    label = next((columns[name] for name in LABEL_NAMES if name in columns), None)
    if text is None or label is None:
        raise TextRefused(
            f"split '{name}' has the columns {', '.join(rows.column_names)}; one of "
            f"{', '.join(TEXT_NAMES)} and one of {', '.join(LABEL_NAMES)} are needed"
        )
    table = pd.DataFrame({"text": rows[text], "label": rows[label]})
    words = table["label"].astype(str).str.strip().str.lower()
    if words.isin(NO_LABEL).all():
        return Part(name, split_of(name), None)
    declared = [str(word).lower() for word in getattr(rows.features[label], "names", None) or []]
    if declared and all(word in LABEL_WORDS for word in declared):
        words = table["label"].map(dict(enumerate(declared)))
    problems = [f"row {row}: {word!r} is no label" for row, word in enumerate(words)
                if word not in LABEL_WORDS]  # fmt: skip
    refuse(Path(name), problems, f"a label is one of {', '.join(LABEL_WORDS)}")
    return Part(
        name,
        split_of(name),
        pd.DataFrame(
            {
                "case": [f"{name}:{row}" for row in range(len(table))],
                "text": table["text"].astype(str).str.strip(),
                "label": words.map(LABEL_WORDS),
            }
        ),
    )
