"""The monitor's test for drift, over the data of all three topics: quiet where nothing changed."""

import json

import numpy as np
import pandas as pd
import pytest

from hour9.engine.settings import Source
from hour9.monitor import (
    FINE,
    RETRAIN,
    WATCH,
    Drift,
    NoRequests,
    compare,
    judge,
    numbers,
    read_file,
)
from hour9.rl.environments import make
from hour9.transformers.reviews import write_reviews

DRAWS = 100


def reviews() -> pd.DataFrame:
    return write_reviews(1200, seed=0)["sentences"][["text"]].drop_duplicates()


def graph_nodes() -> pd.DataFrame:
    from hour9.graphs import nodes

    tables = nodes.ingest(Source(root="src/hour9/graphs/digits.py", size=900))
    return nodes.describe(tables, nodes.requests(tables))


def observations() -> pd.DataFrame:
    env = make("CartPole-v1")
    seen = [env.reset(seed=seed)[0] for seed in range(900)]
    return pd.DataFrame(seen).add_prefix("observation_")


TOPICS = {"transformers": reviews, "graphs": graph_nodes, "rl": observations}


def verdict(then: pd.DataFrame, now: pd.DataFrame) -> str:
    return judge(compare(*numbers(then.reset_index(drop=True), now.reset_index(drop=True))), 0)[0]


@pytest.mark.parametrize("topic", ["graphs", "rl"])
def test_requests_like_the_training_data_are_fine_on_95_of_100_draws(topic):
    pool = TOPICS[topic]()
    verdicts = []
    for seed in range(DRAWS):
        mixed = pool.sample(frac=1, random_state=seed)
        verdicts.append(verdict(mixed.iloc[200:], mixed.iloc[:200]))
    assert verdicts.count(FINE) >= 95


def test_texts_like_the_training_data_are_fine_on_nearly_all_draws():
    pool = reviews()
    mixed = [pool.sample(frac=1, random_state=seed) for seed in range(20)]
    verdicts = [verdict(m.iloc[200:600], m.iloc[:200]) for m in mixed]
    assert verdicts.count(FINE) >= 19


@pytest.mark.parametrize("topic", TOPICS)
def test_requests_of_another_kind_ask_for_a_new_training(topic):
    mixed = TOPICS[topic]().sample(frac=1, random_state=0)
    now = mixed.iloc[:200]
    if topic == "transformers":
        now = now.assign(text="Lieferung verspätet, Paket beschädigt: " + now["text"].str[:20])
    else:
        now = now + now.std()
    assert verdict(mixed.iloc[200:], now) == RETRAIN


def test_a_small_change_is_watched_and_so_is_a_broken_contract():
    random = np.random.default_rng(0)
    then, now = (pd.DataFrame({"x": random.normal(m, 1, 2000)}) for m in (0.0, 0.2))
    assert verdict(then, now) == WATCH
    assert judge(compare(then, then), refused=1)[0] == WATCH


@pytest.mark.parametrize(
    ("distance", "chance", "verdict"),
    [
        (0.2, 0.019, RETRAIN),
        (0.199, 0.019, WATCH),  # surely, but not far
        (0.9, 0.02, FINE),  # far, but as chance would have it
    ],
)
def test_what_moved_far_and_surely_asks_for_a_new_training(distance, chance, verdict):
    assert judge([Drift("it", distance, chance)], refused=0)[0] == verdict
    assert judge([Drift("it", distance, chance)], 3)[0] == (WATCH if verdict == FINE else verdict)


def test_the_feature_that_moved_farthest_is_named():
    drifts = [Drift("a", 0.3, 0.001), Drift("b", 0.5, 0.002), Drift("c", 0.9, 0.5)]
    assert judge(drifts, refused=0) == (RETRAIN, "b is 0.50 away from the training data")


def test_holms_correction_is_that_of_statsmodels_by_hand():
    """0.01, 0.02, 0.04 of three: times 3, 2 and 1, and never falling."""
    random = np.random.default_rng(0)
    then = pd.DataFrame(random.normal(size=(300, 3)))
    now = pd.DataFrame(random.normal([0.3, 0.2, 0.0], size=(300, 3)))
    alone = sorted(compare(then[[k]], now[[k]])[0].chance for k in range(3))
    wanted = np.minimum(1, np.maximum.accumulate([3 * alone[0], 2 * alone[1], alone[2]]))
    assert [d.chance for d in compare(then, now)] == pytest.approx(list(wanted))


def test_a_file_is_read_as_lines_of_json_and_else_refused_in_words(tmp_path):
    good, bad = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    good.write_text("\n".join(json.dumps({"state": n}) for n in range(3)))
    bad.write_text("[1, 2]\n")
    assert read_file(good) == [{"state": 0}, {"state": 1}, {"state": 2}]
    for file in (bad, tmp_path / "none.jsonl"):
        with pytest.raises(NoRequests, match="holds no requests"):
            read_file(file)


def test_texts_that_look_like_something_else_are_texts(tmp_path):
    texts = ["N/A", "null", "one line\u2028and another\x85"]
    lines, table = tmp_path / "a.jsonl", tmp_path / "a.csv"
    rows = [json.dumps({"text": text}, ensure_ascii=False) for text in texts]
    lines.write_text("\n".join(rows), "utf-8")
    table.write_text("\n".join(["n,text", *(f'1,"{text}"' for text in texts), "2,"]), "utf-8")
    assert [row["text"] for row in read_file(lines)] == texts
    assert [row["text"] for row in read_file(table)] == [*texts, None]
    assert [row["n"] for row in read_file(table)] == [1, 1, 1, 2]


@pytest.mark.parametrize("said", ["class 3", "one that training never had"])
def test_thirty_requests_that_are_all_alike_are_no_sample_of_ten_equal_classes(said):
    then = pd.DataFrame({"answer": [f"class {n % 10}" for n in range(1000)]})
    assert verdict(then, pd.DataFrame({"answer": [said] * 30})) == RETRAIN


@pytest.mark.parametrize("balanced", [True, False])
@pytest.mark.parametrize("shares", [[0.1] * 10, [0.6] + 15 * [0.4 / 15]], ids=["equal", "unequal"])
def test_few_requests_of_the_same_rare_classes_are_fine_on_95_of_100_draws(shares, balanced):
    """However training was drawn: by chance, or each class just as often as it should be."""
    random = np.random.default_rng(0)
    exact = np.repeat(np.arange(len(shares)), np.round(300 * np.array(shares)).astype(int))
    verdicts = []
    for _ in range(DRAWS):
        drawn = [random.choice(len(shares), size=n, p=shares) for n in (300, 30)]
        then, now = exact if balanced else drawn[0], drawn[1]
        verdicts.append(verdict(*(pd.DataFrame({"answer": a.astype(str)}) for a in (then, now))))
    assert verdicts.count(FINE) >= 95
