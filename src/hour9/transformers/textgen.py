"""The task `textgen`: how does a text go on?

A case is a passage, and its target is its text. The score is minus the bits that the model needs
for a byte of it: 8 for noise, 0 for what it knows by heart. A probe is the beginning of a sentence
about somebody, and what matters is how the model goes on.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hour9.engine.settings import Source
from hour9.params import Refused
from hour9.task import PROBE, Answer, Tables, Task
from hour9.transformers.passages import LONGEST, documents, file_passages, review_passages
from hour9.transformers.probes import read_prompts
from hour9.transformers.requests import texts_of

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation

    from hour9.engine.run import Run
    from hour9.transformers.gpt import Gpt

READERS = {"embedded": review_passages, "path": file_passages}
CONTEXT_OF_BASELINE = 6  # bytes at most; validation picks
LONGEST_PROMPT = 100_000  # characters
WRITTEN = 200  # test passages that are written anew, at most
BEGINNING = 3  # words of each that are given
LENGTH, PHRASE = 40, 12  # tokens written after a passage's beginning, and after a probe
REPEATS = 2  # continuations of a probe
JUDGED = 2400  # reviews from which it is learned what is positive
DEFAULTS = {"tokens": 40, "temperature": 0.0, "top_k": 0, "top_p": 1.0, "seed": 0}
"""What a request may say besides its text; the temperature 0 takes the likeliest token."""


def ingest(source: Source) -> Tables:
    """Reviews of the project's own grammar, or the passages of a text file."""
    if source.kind not in READERS:
        raise Refused(f"textgen reads no source '{source.kind}'; it reads {', '.join(READERS)}")
    return READERS[source.kind](source)


def contract(_: Tables) -> dict[str, list[Expectation]]:
    """Each passage says something, and belongs to a document."""
    from great_expectations import expectations as expect

    def whole(columns: list[str], exact: bool) -> list[Expectation]:
        return [
            expect.ExpectTableRowCountToBeBetween(min_value=2),
            expect.ExpectTableColumnsToMatchSet(column_set=columns, exact_match=exact),
            *(expect.ExpectColumnValuesToNotBeNull(column=column) for column in columns),
        ]

    return {
        "reference": [
            *whole(["topic", "text", "split"], exact=True),
            expect.ExpectColumnValuesToBeUnique(column="topic"),
            expect.ExpectColumnValuesToMatchRegex(column="text", regex=r"\S"),
            expect.ExpectColumnDistinctValuesToEqualSet(
                column="split", value_set=["train", "validation"]
            ),
        ],
        "cases": [
            *whole(["case", "split", "document", "target"], exact=False),
            expect.ExpectColumnValuesToMatchRegex(column="target", regex=r"\S"),
            expect.ExpectColumnValueLengthsToBeBetween(
                column="target", min_value=1, max_value=LONGEST
            ),
        ],
    }


def train(run: Run) -> None:
    """Train on the reference or on the passages; the epoch is chosen on held-out texts of it."""
    from hour9.transformers.gpt import train_gpt

    if getattr(run.settings, "corpus", "passages") == "reference":
        table = run.tables["reference"]
        texts = [table.loc[table["split"] == split, "text"] for split in ("train", "validation")]
        train_gpt(run, *(list(t) for t in texts))
    else:
        cases = run.tables["cases"]
        held_out = cases.loc[cases["split"] == "validation", "target"].tolist()
        train_gpt(run, documents(cases, "train"), held_out)


def score(folder: Path, tables: Tables) -> pd.DataFrame:
    """Minus the bits per byte of each passage, and what the model's own writing shows.

    `copied` and `shared`, for test passages: of what the model writes after its first words, and
    of how it really goes on, the share that stands word for word in a training text. A model that
    copies more than is common property has memorised.
    `output`, for probes: how positive is what it writes, from 0 to 1.
    """
    from hour9.transformers.gpt import load_gpt

    cases, gpt = tables["cases"], load_gpt(folder)
    bits = gpt.bits_per_byte(cases["target"].tolist())
    table = pd.DataFrame({"case": cases["case"], "score": -bits})
    return table.merge(memory(gpt, tables), how="left").merge(leanings(gpt, cases), how="left")


def memory(gpt: Gpt, tables: Tables) -> pd.DataFrame:
    """The columns case, copied and shared of at most WRITTEN test passages."""
    from hour9.transformers.copied import copied

    test = tables["cases"].query("split == 'test'").head(WRITTEN)
    first = test["target"].str.split().str[:BEGINNING].str.join(" ")
    written = write(gpt, first.tolist(), test["case"].tolist(), LENGTH)
    real = test["target"].str.split().str[BEGINNING:].str.join(" ").tolist()
    reference, cases = tables["reference"], tables["cases"]
    learned = [*reference["text"], *documents(cases, "train")]
    return pd.DataFrame(
        {
            "case": test["case"],
            "copied": copied(written, learned),
            "shared": copied(real, learned),
        }
    )


def leanings(gpt: Gpt, cases: pd.DataFrame) -> pd.DataFrame:
    """The columns case and output of the probes: the mean of some continuations. Counterparts are
    written with the same chance, so that they differ by who is spoken of."""
    probes = cases[cases["split"] == PROBE]
    if probes.empty:
        return pd.DataFrame({"case": probes["case"], "output": np.array([])})
    origin = probes["pair"].where(probes["pair"] != "", probes["case"])
    positive = positivity()
    found = [
        positive(write(gpt, probes["target"].tolist(), [f"{o} {i}" for o in origin], PHRASE))
        for i in range(REPEATS)
    ]
    return pd.DataFrame({"case": probes["case"], "output": np.mean(found, axis=0)})


def write(gpt: Gpt, prompts: list[str], chances: list[str], tokens: int) -> list[str]:
    """How the model goes on, drawn with a chance of each text's own."""
    from hour9.transformers.generate import Sampling, generate

    stop = frozenset([gpt.end])
    sampling = [
        Sampling(tokens, temperature=1.0, stop=stop, seed=zlib.crc32(chance.encode()))
        for chance in chances
    ]
    read = [gpt.prompt(prompt) for prompt in prompts]
    return gpt.tokenizer.decode_batch(generate(gpt.model, read, sampling))


def positivity() -> Callable[[list[str]], np.ndarray]:
    """Texts to how positive each is, from 0 to 1: a bag of words, fitted on the project's
    labelled reviews. No model of words that could lean itself is asked."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    from hour9.transformers.reviews import write_reviews

    tables = write_reviews(JUDGED, seed=0)
    data = tables["cases"].merge(tables["sentences"], on="case")
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
    model.fit(data["text"], data["target"] == "positive")
    return lambda texts: model.predict_proba(texts)[:, 1]


def prompts(path: Path) -> Tables:
    """Beginnings of sentences, each about two people in turn, and a document of its own."""
    cases = read_prompts(path)["cases"]
    return {"cases": cases.assign(document=cases["case"])}


def baseline(tables: Tables) -> pd.DataFrame:
    """Interpolated n-grams of bytes, counted on train; validation picks how long."""
    from hour9.transformers.ngram import ByteNgrams

    cases = tables["cases"]
    model = ByteNgrams(documents(cases, "train"), CONTEXT_OF_BASELINE)
    bits = np.stack([model.bits_per_byte(text) for text in cases["target"]])  # (N, longest + 1)
    best = bits[(cases["split"] == "validation").to_numpy()].mean(axis=0).argmin()
    return pd.DataFrame({"case": cases["case"], "score": -bits[:, best]})


def answer(folder: Path) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Requests with a column `text`, and any of DEFAULTS -> how each text goes on.

    Of a text that leaves no room in the model's context, its end does: see `Gpt.prompt`.
    """
    from hour9.transformers.generate import Sampling, generate
    from hour9.transformers.gpt import load_gpt

    gpt = load_gpt(folder)

    def respond(requests: pd.DataFrame) -> pd.DataFrame:
        prompts = [gpt.prompt(text) for text in texts_of(requests, LONGEST_PROMPT)]
        sampling = [
            Sampling(**settings_of(request), stop=frozenset([gpt.end]))
            for request in requests.to_dict("records")
        ]
        written = generate(gpt.model, prompts, sampling)
        return pd.DataFrame(
            {"continuation": gpt.tokenizer.decode_batch(written)}, index=requests.index
        )

    return respond


def settings_of(request: dict[str, Any]) -> dict[str, Any]:
    """How to write on: what the request says, else the default. Raises ValueError."""
    said = {name: request[name] for name in DEFAULTS if name in request}
    given = {name: value for name, value in said.items() if value is not None and value == value}
    wrong = [f"{name} is {value!r}" for name, value in given.items() if not fits(name, value)]
    if wrong:
        raise ValueError(f"{', '.join(wrong)}; numbers are needed, whole ones but for temperature "
                         "and top_p")  # fmt: skip
    return {name: type(usual)(given.get(name, usual)) for name, usual in DEFAULTS.items()}


def fits(name: str, value: object) -> bool:
    """Whether it is a finite number, and a whole one where the default is."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return False
    whole = isinstance(DEFAULTS[name], int)
    number = float(value)
    return math.isfinite(number) and (not whole or (number >= 0 and number.is_integer()))


def example(tables: Tables) -> pd.DataFrame:
    """The first words of three passages: one to go on with greedily, two by chance."""
    first = tables["cases"]["target"].head(3).str.split().str[:3].str.join(" ")
    settings = {name: [None, value, value] for name, value in DEFAULTS.items()}
    return pd.DataFrame({"text": first, **settings, "temperature": [None, 0.8, 0.8]})


def draw(folder: Path, tables: Tables, pictures: Path) -> None:
    """Where each head looks in a passage, and how three passages might have gone on."""
    from hour9.transformers.gpt import load_gpt
    from hour9.transformers.gpt_pictures import draw_attention, draw_samples

    gpt = load_gpt(folder)
    cases = tables["cases"]
    passages = cases.loc[cases["split"] == "validation", "target"]
    draw_attention(gpt, passages.iloc[0], pictures / "attention_by_head.png")
    beginnings = passages.str.split().str[:BEGINNING].str.join(" ").drop_duplicates()
    draw_samples(gpt, beginnings.head(3).tolist(), pictures / "written_by_the_model.png")


def requests(tables: Tables, _: Answer | None = None) -> pd.DataFrame:
    """The first words of each passage."""
    return pd.DataFrame({"text": tables["cases"]["target"].str.split().str[:3].str.join(" ")})


TASK = Task(
    name="textgen",
    metric="minus bits per byte",
    ingest=ingest,
    contract=contract,
    train=train,
    score=score,
    baseline=baseline,
    answer=answer,
    example=example,
    requests=requests,
    draw=draw,
    probes=prompts,
)
