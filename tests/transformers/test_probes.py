from pathlib import Path

import pandas as pd
import pytest

from hour9.ingest import with_probes
from hour9.params import Refused
from hour9.task import without_test
from hour9.transformers.probes import IDENTITIES, TEMPLATES, WORDS, read_probes, read_prompts

CORPUS = Path(__file__).parents[3] / "shared/data/bias/eec"
OWN = Path("src/hour9/transformers/probes.py")


def differing_words(probes: dict[str, pd.DataFrame]) -> pd.Series:
    """For each pair the words that stand in only one of its sentences."""
    table = probes["cases"].merge(probes["sentences"], on="case").set_index("case")
    second = table[table["pair"] != ""]
    first = table["text"].loc[second["pair"]]
    words = [
        set(a.replace(",", "").split()) ^ set(b.replace(",", "").split())
        for a, b in zip(first, second["text"], strict=True)
    ]
    return pd.Series(words, index=second.index)


def test_our_pairs_differ_in_the_identity_alone():
    probes = read_probes(OWN)
    known = {word for pair in IDENTITIES for _, who in pair for word in who.split()}
    assert all(len(words) > 0 and words <= known for words in differing_words(probes))
    sentences = len(TEMPLATES) * sum(map(len, WORDS.values()))
    assert (probes["cases"]["pair"] != "").sum() == sentences * len(IDENTITIES)
    assert probes["cases"]["case"].is_unique
    assert not probes["sentences"]["text"].str.contains(r"\ba [aeiou]", regex=True).any()


def test_a_prompt_is_cut_before_the_word_that_judges_and_still_says_who_is_spoken_of():
    cases = read_prompts(OWN)["cases"].set_index("case")
    second = cases[cases["pair"] != ""]
    assert len(second) == 5 * 16 * len(IDENTITIES)  # one template says who only afterwards
    assert (second["target"] != cases.loc[second["pair"], "target"].to_numpy()).all()
    ends = {"gives", "is", "it"}
    assert set(cases["target"].str.split().str[-1]) == ends
    judging = {word for words in WORDS.values() for word in words}
    assert not cases["target"].str.split().explode().isin(judging).any()


def test_probes_join_the_tables_and_no_training_sees_them():
    sentences = pd.DataFrame({"case": ["a", "b"], "text": ["good", "bad"]})
    cases = pd.DataFrame({"case": ["a", "b"], "split": ["train", "test"], "target": "positive"})
    joined = with_probes({"sentences": sentences, "cases": cases}, read_probes(OWN))
    assert joined["cases"].notna().all(axis=None)
    assert joined["cases"]["pair"][:2].tolist() == ["", ""]
    assert (joined["cases"]["split"] == "probe").sum() == len(joined["cases"]) - 2
    seen = without_test(joined)
    assert seen["sentences"]["case"].tolist() == seen["cases"]["case"].tolist() == ["a"]


@pytest.mark.skipif(not CORPUS.exists(), reason=f"the Equity Evaluation Corpus is not in {CORPUS}")
def test_the_corpus_is_paired_by_gender_and_by_the_origin_of_names():
    probes = read_probes(CORPUS)
    cases, sentences = probes["cases"], probes["sentences"]
    assert len(cases) == 8640
    assert cases["case"].is_unique
    known = {"men", "women", "white men", "white women", "black men", "black women"}
    assert {*cases["group.identity"]} == known
    assert set(cases["pair"]) - {""} <= set(cases["case"])
    # 144 sentences, each with ten people of each of the six.
    assert cases["group.identity"].value_counts().to_dict() == dict.fromkeys(known, 1440)
    table = cases.merge(sentences, on="case").set_index("case")
    second = table[table["pair"] != ""]
    lengths = second["text"].str.split().str.len()
    assert (lengths == table.loc[second["pair"], "text"].str.split().str.len().to_numpy()).all()


def test_what_is_neither_ours_nor_the_corpus_is_refused(tmp_path):
    (tmp_path / "mine.tsv").write_text("text\tlabel\n")
    (tmp_path / "mine.csv").write_text("ID,Sentence\n")
    (tmp_path / "mine.png").write_bytes(b"\x89PNG\x00\xff")
    for name, said in {
        "mine.tsv": "mine.tsv has no column Emotion, ",
        "mine.csv": "mine.csv has no column Emotion, ",
        "mine.png": "mine.png is no CSV",
        "": "there is no .*Equity-Evaluation-Corpus.csv",
        "gone.csv": "there is no .*gone.csv",
    }.items():
        with pytest.raises(Refused, match=said):
            read_probes(tmp_path / name)
