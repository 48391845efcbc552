"""The task `translation`: from a text to what it says in another language.

Tables: `sentences` (case, text) and `cases`, whose target is the translation. The embedded
language is dates as people write them, and their translation ISO 8601.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from hour9.engine.settings import Source
from hour9.params import Refused
from hour9.sources.parallel import LONGEST, parallel_texts
from hour9.sources.text import WORD
from hour9.task import Answer, Tables, Task
from hour9.transformers.dates import FIRST, write_dates
from hour9.transformers.requests import texts_of

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation

    from hour9.engine.run import Run

ISO = re.compile(r"\d{4}-\d\d-\d\d")


def ingest(source: Source) -> Tables:
    """Dates from the project's own grammar, or any parallel text."""
    if source.kind == "embedded":
        return write_dates(source.size, source.seed)
    if source.kind != "path":
        raise Refused(f"source.kind is {source.kind}; translation reads embedded and path")
    texts = parallel_texts(source)
    cases = texts[["case", "split"]].assign(target=texts["translation"])
    return {"sentences": texts[["case", "text"]], "cases": cases}


def contract(_: Tables) -> dict[str, list[Expectation]]:
    """Each case has a text and a translation, neither empty nor endless."""
    from great_expectations import expectations as expect

    from hour9.sources.references import ExpectColumnValuesToStandIn

    def whole(columns: list[str], text: str, exact: bool) -> list[Expectation]:
        return [
            expect.ExpectTableRowCountToBeBetween(min_value=1),
            expect.ExpectTableColumnsToMatchSet(column_set=columns, exact_match=exact),
            *(expect.ExpectColumnValuesToNotBeNull(column=column) for column in columns),
            expect.ExpectColumnValuesToBeUnique(column="case"),
            expect.ExpectColumnValuesToMatchRegex(column=text, regex=r"\S"),
            expect.ExpectColumnValueLengthsToBeBetween(column=text, min_value=1, max_value=LONGEST),
        ]

    return {
        "sentences": whole(["case", "text"], "text", exact=True),
        "cases": [
            *whole(["case", "split", "target"], "target", exact=False),
            ExpectColumnValuesToStandIn(column="case", place="sentences.case"),
        ],
    }


def train(run: Run) -> None:
    """An encoder and a decoder, from scratch."""
    from hour9.transformers.seq2seq import train_seq2seq

    train_seq2seq(run)


def pairs_of(tables: Tables) -> pd.DataFrame:
    """The cases with their texts."""
    return tables["cases"].merge(tables["sentences"], on="case", validate="1:1")


def score(folder: Path, tables: Tables) -> pd.DataFrame:
    """How well each translation matches: see `matches`."""
    from hour9.transformers.seq2seq import load_translator

    data = pairs_of(tables)
    found = load_translator(folder).translate(data["text"].tolist())
    return pd.DataFrame({"case": data["case"], "score": matches(found, data["target"])})


def matches(found: Sequence[str], targets: pd.Series) -> np.ndarray:
    """1 for the very date, 0 for any other; for sentences, chrF from 0 to 1 (Popović 2015)."""
    if are_dates(targets):
        return (np.asarray(found, dtype=object) == targets.to_numpy(object)).astype(float)
    from sacrebleu.metrics import CHRF

    measure = CHRF()
    pairs = zip(found, targets, strict=True)
    return np.array([measure.sentence_score(text, [target]).score / 100 for text, target in pairs])


def are_dates(targets: pd.Series) -> bool:
    return bool(targets.str.fullmatch(ISO).all())


def metric(tables: Tables) -> str:
    """What the scores are called."""
    return "match" if are_dates(tables["cases"]["target"]) else "chrF"


def measure(folder: Path, tables: Tables) -> dict[str, float]:
    """For sentences, corpus BLEU of the test split (Post 2018), the nearest ones' beside it;
    and how many of its texts are longer than what the model reads."""
    from hour9.transformers.seq2seq import load_translator

    data = pairs_of(tables)
    if are_dates(data["target"]):
        return {}
    from sacrebleu.metrics import BLEU

    test = (data["split"] == "test").to_numpy()
    translator, texts = load_translator(folder), data.loc[test, "text"].tolist()
    ways = {
        "BLEU": translator.translate(texts),
        "BLEU/nearest training sentence": np.array(nearest(data), dtype=object)[test].tolist(),
    }
    targets = [data.loc[test, "target"].tolist()]
    scores = {name: BLEU().corpus_score(found, targets).score for name, found in ways.items()}
    return {**scores, "share of texts cut": translator.share_cut(texts)}


def baseline(tables: Tables) -> pd.DataFrame:
    """For dates dateutil's parser, which knows no more than its rules and the century; validation
    picks whether day or month stands first. For sentences, the translation of the training
    sentence that shares most of its words."""
    data = pairs_of(tables)
    if not are_dates(data["target"]):
        return pd.DataFrame({"case": data["case"], "score": matches(nearest(data), data["target"])})
    held = (data["split"] == "validation").to_numpy()
    tried = [matches(parsed(data["text"], first), data["target"]) for first in (True, False)]
    best = max(tried, key=lambda scores: scores[held].mean())
    return pd.DataFrame({"case": data["case"], "score": best})


def parsed(texts: pd.Series, day_first: bool) -> list[str]:
    """What dateutil reads, empty where it gives up."""
    from dateutil.parser import ParserError, parse, parserinfo

    class Century(parserinfo):
        """Two digits mean the hundred years of the grammar, whatever the clock says."""

        def convertyear(self, year: int, century_specified: bool = False) -> int:
            return (
                year if century_specified or year > 99 else FIRST.year + (year - FIRST.year) % 100
            )

    rules, blank = Century(dayfirst=day_first), datetime(FIRST.year, 1, 1)

    def read(text: str) -> str:
        try:
            return parse(text, parserinfo=rules, default=blank).date().isoformat()
        except (ParserError, OverflowError):
            return ""

    return [read(text) for text in texts]


def nearest(data: pd.DataFrame) -> list[str]:
    """The translation of the most similar training sentence."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.neighbors import NearestNeighbors

    train = data[data["split"] == "train"]
    words = TfidfVectorizer(token_pattern=WORD).fit(train["text"])
    search = NearestNeighbors(n_neighbors=1, metric="cosine").fit(words.transform(train["text"]))
    found = search.kneighbors(words.transform(data["text"]), return_distance=False)[:, 0]
    return train["target"].to_numpy(object)[found].tolist()


def answer(folder: Path) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Requests with a column `text` -> translation. What is longer than the model reads, is cut."""
    from hour9.transformers.seq2seq import Translator, load_translator

    translator: Translator = load_translator(folder)

    def respond(requests: pd.DataFrame) -> pd.DataFrame:
        found = translator.translate(texts_of(requests, LONGEST))
        return pd.DataFrame({"translation": found}, index=requests.index)

    return respond


def example(tables: Tables) -> pd.DataFrame:
    """Three texts."""
    return tables["sentences"][["text"]].head(3)


def draw(folder: Path, tables: Tables, pictures: Path) -> None:
    """Which letters of the source each letter of the translation looks at."""
    from hour9.transformers.seq2seq import load_translator
    from hour9.transformers.seq2seq_pictures import draw_alignment

    draw_alignment(load_translator(folder), pairs_of(tables), pictures)


def requests(tables: Tables, _: Answer | None = None) -> pd.DataFrame:
    """The texts of the cases."""
    sentences, cases = tables["sentences"], tables["cases"]
    return sentences.loc[sentences["case"].isin(cases["case"]), ["text"]]


TASK = Task(
    name="translation",
    metric=metric,
    ingest=ingest,
    contract=contract,
    train=train,
    score=score,
    baseline=baseline,
    answer=answer,
    example=example,
    requests=requests,
    measure=measure,
    draw=draw,
)
