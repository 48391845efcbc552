"""The task `sentiment`: is a review negative or positive?

Tables: `sentences` (case, text) and `cases`, whose target is negative or positive.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from hour9.engine.settings import Source
from hour9.params import Refused
from hour9.sources.fingerprints import of_texts
from hour9.sources.text import WORD, labelled_texts
from hour9.task import Answer, Tables, Task
from hour9.transformers.perturb import hurried
from hour9.transformers.probes import read_probes
from hour9.transformers.requests import texts_of
from hour9.transformers.reviews import LABELS, write_reviews

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation

    from hour9.engine.run import Run

LONGEST = 100_000  # characters of a text


def ingest(source: Source) -> Tables:
    """The reviews of the project's own grammar, or labelled texts of any other source."""
    if source.kind == "embedded":
        if source.apart:
            raise Refused(
                "the embedded reviews are no phrases of each other; leave out source.apart"
            )
        return write_reviews(source.size, source.seed, source.name)
    if source.kind == "planetoid":
        raise Refused("source.kind=planetoid holds graphs; sentiment takes embedded, path, hub")
    texts = labelled_texts(source)
    cases = texts[["case", "split", "label"]].rename(columns={"label": "target"})
    return {"sentences": texts[["case", "text"]], "cases": cases}


def contract(_: Tables) -> dict[str, list[Expectation]]:
    """Each case has a text that says something; train has both labels, and there is no third."""
    from great_expectations import expectations as expect
    from great_expectations.expectations.row_conditions import Column

    def whole(columns: list[str], exact: bool) -> list[Expectation]:
        return [
            expect.ExpectTableRowCountToBeBetween(min_value=1),
            expect.ExpectTableColumnsToMatchSet(column_set=columns, exact_match=exact),
            *(expect.ExpectColumnValuesToNotBeNull(column=column) for column in columns),
            expect.ExpectColumnValuesToBeUnique(column="case"),
        ]

    return {
        "sentences": [
            *whole(["case", "text"], exact=True),
            expect.ExpectColumnValuesToMatchRegex(column="text", regex=r"\S"),
            expect.ExpectColumnValueLengthsToBeBetween(
                column="text", min_value=1, max_value=LONGEST
            ),
        ],
        "cases": [
            *whole(["case", "split", "target"], exact=False),
            expect.ExpectColumnValuesToBeInSet(column="target", value_set=list(LABELS)),
            expect.ExpectColumnDistinctValuesToContainSet(
                column="target",
                value_set=list(LABELS),
                row_condition=Column("split") == "train",
            ),
        ],
    }


def train(run: Run) -> None:
    """As the candidate's architecture says; each writes what `load_classifier` reads."""
    from hour9.transformers import bert, encoder, int8, student

    begin = {
        "bert": bert.fine_tune,
        "encoder": encoder.train_from_scratch,
        "student": student.distil,
        "int8": int8.quantise,
    }[run.settings.architecture]
    begin(run, LABELS)


def score(folder: Path, tables: Tables) -> pd.DataFrame:
    """1 where the label is found, 0 elsewhere; confidence is the probability of the label given,
    output that of 'positive'."""
    from hour9.transformers.classifier import load_classifier

    classifier = load_classifier(folder)
    data = tables["cases"].merge(tables["sentences"], on="case", validate="1:1")
    probabilities = classifier.probabilities(data["text"].tolist())
    found = np.asarray(classifier.labels)[probabilities.argmax(axis=1)]
    return pd.DataFrame(
        {
            "case": data["case"],
            "score": (found == data["target"].to_numpy()).astype(float),
            "confidence": probabilities.max(axis=1).astype(float),
            "output": probabilities[:, classifier.labels.index("positive")].astype(float),
        }
    )


def measure(folder: Path, tables: Tables) -> dict[str, float]:
    """How many test texts are longer than what the model reads: their ends count for nothing."""
    from hour9.transformers.batches import share_cut
    from hour9.transformers.classifier import load_classifier

    data = tables["cases"].merge(tables["sentences"], on="case", validate="1:1")
    test = data.loc[data["split"] == "test", "text"]
    return {"share of texts cut": share_cut(load_classifier(folder).tokenizer, test.tolist())}


def fingerprint(tables: Tables) -> pd.DataFrame:
    """Reviews that are the same, or nearly."""
    return of_texts(tables["sentences"]["case"], tables["sentences"]["text"])


def perturb(tables: Tables, seed: int) -> Tables:
    """The texts as typed in a hurry; each its own way, whatever other texts there are."""
    sentences = tables["sentences"]
    texts = [
        hurried(text, random.Random(f"{seed} {case}"))
        for case, text in zip(sentences["case"], sentences["text"], strict=True)
    ]
    return {**tables, "sentences": sentences.assign(text=texts)}


def baseline(tables: Tables) -> pd.DataFrame:
    """A bag of words: TF-IDF and logistic regression, fitted on train."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    data = tables["cases"].merge(tables["sentences"], on="case", validate="1:1")
    train = data[data["split"] == "train"]
    words = TfidfVectorizer(token_pattern=WORD)
    model = make_pipeline(words, LogisticRegression(max_iter=1000))
    model.fit(train["text"], train["target"])
    found = model.predict(data["text"])
    return pd.DataFrame({"case": data["case"], "score": (found == data["target"]).astype(float)})


def answer(folder: Path) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Requests with a column `text` -> label, confidence in it, probability of positive."""
    from hour9.transformers.classifier import load_classifier

    classifier = load_classifier(folder)

    def respond(requests: pd.DataFrame) -> pd.DataFrame:
        probabilities = classifier.probabilities(texts_of(requests, LONGEST))  # (N, 2)
        return pd.DataFrame(
            {
                "label": np.asarray(classifier.labels)[probabilities.argmax(axis=1)],
                "confidence": probabilities.max(axis=1).astype(float),
                "probability": probabilities[:, LABELS.index("positive")].astype(float),
            },
            index=requests.index,
        )

    return respond


def example(tables: Tables) -> pd.DataFrame:
    """Three reviews."""
    return tables["sentences"][["text"]].head(3)


def draw(folder: Path, tables: Tables, pictures: Path) -> None:
    """What the words add and where the heads look, if the candidate can tell."""
    from hour9.transformers.classifier import load_classifier
    from hour9.transformers.explain import draw_classifier

    draw_classifier(load_classifier(folder), tables, pictures)


def explain(folder: Path) -> Callable[[str], list[tuple[str, float]]]:
    """A text to its words, each with what it added to the log-odds of the answer."""
    from hour9.transformers.classifier import load_classifier
    from hour9.transformers.explain import explained_words

    classifier = load_classifier(folder)
    return lambda text: explained_words(classifier, text)


def requests(tables: Tables, _: Answer | None = None) -> pd.DataFrame:
    """The texts of the cases."""
    sentences, cases = tables["sentences"], tables["cases"]
    return sentences.loc[sentences["case"].isin(cases["case"]), ["text"]]


TASK = Task(
    name="sentiment",
    metric="accuracy",
    ingest=ingest,
    takes=("apart",),
    contract=contract,
    train=train,
    score=score,
    measure=measure,
    baseline=baseline,
    answer=answer,
    example=example,
    requests=requests,
    draw=draw,
    explain=explain,
    probes=read_probes,
    fingerprint=fingerprint,
    perturb=perturb,
)
