"""Every gate is shown a fault that it must reject, a clean twin, and too little to say.

The faults are planted in tests/gates/clean.py by hour9/gates/planted.py; below them are faults as
they happen: models that were really trained, or really do nothing.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.gates.clean import clean_curve, clean_evidence, clean_rounds

from hour9.engine.settings import Source
from hour9.evaluate import twins
from hour9.gates import AT_PROMOTION, GATES, OF_THE_CURVE
from hour9.gates.planted import PLANTERS, draw, effect_of
from hour9.params import read_params
from hour9.rl import cartpole
from hour9.sources.fingerprints import of_texts
from hour9.task import Tables
from hour9.transformers.reviews import PEOPLE, write_reviews

TASKS = read_params(Path(__file__).parents[2] / "params.yaml")["tasks"]
EVERY = GATES | AT_PROMOTION
FAULT = 2.0  # times the threshold
FROM_ONE_CASE = ("budget", "seeds")
TABLES = {**dict.fromkeys(OF_THE_CURVE, clean_curve), "latency": clean_rounds}


def limit_of(gate: str) -> float:
    """The threshold of the first task that asks for the gate; a champion must simply be beaten."""
    limits = [task["thresholds"].get(gate) for task in TASKS.values()]
    return 0.0 if gate == "champion" else next(limit for limit in limits if limit is not None)


def verdict(gate: str, faulty: bool, rows: int | None = None) -> str:
    limit, table = limit_of(gate), TABLES.get(gate, clean_evidence)()
    effect = effect_of(gate, table, limit, FAULT) if faulty else None
    drawn = draw(gate, table, effect, np.random.default_rng(0))
    return EVERY[gate](drawn if rows is None else drawn.head(rows), limit).verdict


def test_every_gate_has_its_controls_and_a_task_that_asks_for_it():
    assert PLANTERS.keys() == EVERY.keys()
    assert all(limit_of(gate) is not None for gate in EVERY)


@pytest.mark.parametrize("gate", EVERY)
def test_a_planted_fault_is_rejected(gate):
    assert verdict(gate, faulty=True) == "reject"


@pytest.mark.parametrize("gate", EVERY)
def test_the_clean_twin_passes(gate):
    assert verdict(gate, faulty=False) == "pass"


@pytest.mark.parametrize("gate", EVERY)
@pytest.mark.parametrize("faulty", [True, False])
def test_too_little_evidence_holds_whatever_it_shows(gate, faulty):
    assert verdict(gate, faulty, rows=0 if gate in FROM_ONE_CASE else 12) == "hold"


LEAST = {"calibration": 100, "divergence": 20, "seeds": 1, "budget": 1}
"""Rows from which on a gate says something, where that is not 30."""


@pytest.mark.parametrize("gate", EVERY)
def test_a_gate_says_something_from_as_many_cases_on_as_the_page_says(gate):
    table, least = TABLES.get(gate, clean_evidence)(), LEAST.get(gate, 30)
    if "split" not in table:
        enough = {n: table.head(n) for n in (least, least - 1)}
    elif gate in ("counterfactual", "shift"):
        few = table[table["pair"] != ""]
        enough = {n: pd.concat([table[table["pair"] == ""], few.head(n)]) for n in (30, 29)}
    else:
        own = table[(table["pair"] == "") & ((gate != "identifiers") | (table["split"] == "test"))]
        enough = {n: own.groupby("split").head(n) for n in (least, least - 1)}
        if gate == "group_gap":
            named = {n: [*"a" * n, *"b" * 30] for n in (30, 29)}
            test = own[own["split"] == "test"]
            enough = {n: test.head(n + 30).assign(**{"group.identity": who})
                      for n, who in named.items()}  # fmt: skip
    assert [EVERY[gate](rows, limit_of(gate)).value is None for rows in enough.values()] == [
        False,
        True,
    ]


@pytest.mark.parametrize("gate", sorted(GATES.keys() - {"floor", "overfitting"} - {*OF_THE_CURVE}))
def test_evidence_without_what_the_gate_asks_for_holds(gate):
    columns = {"case": [f"c{i}" for i in range(200)], "split": "test", "score": 1.0, "target": "x"}
    assert GATES[gate](pd.DataFrame(columns), 0.1).verdict == "hold"


@pytest.mark.parametrize("gate", sorted(EVERY.keys() - {"overfitting", "identifiers", *TABLES}))
def test_what_the_training_cases_show_changes_nothing(gate):
    table = clean_evidence()
    train = table["split"] == "train"
    columns = table.select_dtypes("number").columns.drop(["target", "megabytes"])
    worse = table.copy()
    worse.loc[train, columns] = 0.123
    worse.loc[train, "twin"] = "another"
    assert EVERY[gate](worse, limit_of(gate)) == EVERY[gate](table, limit_of(gate))


@pytest.mark.parametrize("gate", ["overfitting", "group_gap", "robustness", "calibration", "shift"])
def test_a_planted_fault_has_the_size_that_it_should(gate):
    """Else the rates that docs/gates.md reports would be those of other faults."""
    found = [
        EVERY[gate](draw(gate, clean_evidence(), 0.3, np.random.default_rng(seed)), 0.3).value
        for seed in range(20)
    ]
    assert np.mean(found) == pytest.approx(0.3, abs=0.03)


def test_a_table_drawn_again_keeps_its_splits_and_every_pair():
    table = clean_evidence()
    drawn = draw("counterfactual", table, None, np.random.default_rng(0))
    originals = drawn[drawn["pair"] == ""]
    assert (
        originals["split"].value_counts() == table[table["pair"] == ""]["split"].value_counts()
    ).all()
    assert drawn["case"].is_unique
    assert drawn.loc[drawn["pair"] != "", "pair"].isin(originals["case"]).all()


# Faults as they happen


def words_of(texts: tuple[str, str]) -> list[set[str]]:
    return [set(text.split()) for text in texts]


SWAPPED = sorted({word for pair in PEOPLE for word in set.symmetric_difference(*words_of(pair))})


class BagOfWords:
    """A classifier that trains in a second. The more it is `free`, the surer it is; a `blind` one
    does not read who is spoken of."""

    def __init__(self, tables: Tables, free: float = 1.0, blind: bool = False):
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        self.data = tables["cases"].merge(tables["sentences"], on="case")
        train = self.data[self.data["split"] == "train"]
        words = TfidfVectorizer(
            ngram_range=(1, 2), token_pattern=r"\w+", stop_words=SWAPPED if blind else None
        )
        self.model = make_pipeline(words, LogisticRegression(C=free, max_iter=5000))
        self.model.fit(train["text"], train["target"])

    def evidence(self) -> pd.DataFrame:
        chances = self.model.predict_proba(self.data["text"])  # (N, 2)
        found = self.model.classes_[chances.argmax(axis=1)]
        return self.data.assign(
            score=(found == self.data["target"]).astype(float),
            confidence=chances.max(axis=1),
            output=chances[:, 1],
            baseline=self.data["target"].eq("positive").astype(float),
        )


def judged(gate: str, evidence: pd.DataFrame, task: str = "sentiment") -> str:
    return GATES[gate](evidence, TASKS[task]["thresholds"][gate]).verdict


@pytest.fixture(scope="module")
def reviews() -> Tables:
    return write_reviews(2400, seed=0)


@pytest.fixture(scope="module")
def fair(reviews) -> pd.DataFrame:
    return BagOfWords(reviews).evidence()


@pytest.mark.parametrize("gate", ["counterfactual", "shift"])
def test_a_model_of_biased_labels_is_rejected_unless_it_is_blind_to_the_identity(gate):
    biased = write_reviews(2400, seed=0, variant="biased")
    assert judged(gate, BagOfWords(biased).evidence()) == "reject"
    assert judged(gate, BagOfWords(biased, blind=True).evidence()) == "pass"


def test_a_model_of_fair_labels_does_not_lean(fair):
    assert judged("shift", fair) == "pass"


def test_a_model_of_shuffled_labels_is_not_above_the_floor_and_has_learned_them_by_heart(
    reviews, fair
):
    random = np.random.default_rng(0)
    cases = reviews["cases"]
    shuffled = {**reviews, "cases": cases.assign(target=random.permutation(cases["target"]))}
    memory = BagOfWords(shuffled, free=1e4).evidence()
    assert judged("floor", memory) != "pass"
    assert judged("overfitting", memory) == "reject"
    assert judged("floor", fair) == "pass"


def test_a_model_that_only_says_yes_when_it_is_sure_of_everything_is_too_sure(reviews, fair):
    assert judged("calibration", BagOfWords(reviews, free=1e5).evidence()) == "reject"


def test_reviews_copied_from_train_to_test_are_found_though_they_were_retyped(reviews):
    cases, sentences = reviews["cases"], reviews["sentences"]
    clean = cases.assign(score=1.0, twin=twins(cases, of_texts(**columns(sentences))))
    assert judged("leakage", clean) == "pass"
    stolen = sentences.loc[cases["split"] == "train", "text"].head(300)
    test = cases.index[(cases["split"] == "test") & (cases["pair"] == "")][:300]
    texts = sentences["text"].copy()
    texts[test] = [text.upper().replace(",", " ,") for text in stolen]
    leaked = sentences.assign(text=texts)
    table = cases.assign(score=1.0, twin=twins(cases, of_texts(**columns(leaked))))
    assert judged("leakage", table) == "reject"
    assert table.loc[test[0], "twin"] == cases["case"][0]


def columns(sentences: pd.DataFrame) -> dict[str, pd.Series]:
    return {"cases": sentences["case"], "texts": sentences["text"]}


def test_an_agent_that_does_not_move_is_rejected_at_the_floor():
    source = Source(root="src/hour9/rl/environments.py", env="CartPole-v1", size=100)
    tables = cartpole.ingest(source)
    motionless = cartpole.episodes(tables, lambda seen: np.zeros(len(seen), int))
    baseline = cartpole.baseline(tables)["score"]
    evidence = tables["cases"].assign(score=cartpole.returns(motionless), baseline=baseline)
    assert judged("floor", evidence, "cartpole") == "reject"
    assert judged("floor", evidence.assign(score=500.0), "cartpole") == "pass"
