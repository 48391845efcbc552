"""From scratch: it learns from train alone."""

import pytest

from hour9.engine.checkpoint import Checkpoint
from hour9.engine.run import Run
from hour9.transformers import sentiment
from hour9.transformers.classifier import load_classifier
from hour9.transformers.settings import EncoderSettings


@pytest.fixture(scope="module")
def trained(tables, tmp_path_factory):
    """On labels that one word gives away: whether the review says "was"."""
    cases, sentences = tables["cases"], tables["sentences"]
    says = sentences["text"].str.contains(r"\bwas\b").map({True: "positive", False: "negative"})
    secret = cases["case"].map(dict(zip(sentences["case"], says, strict=True)))
    folder = tmp_path_factory.mktemp("encoder")
    settings = EncoderSettings(
        task="sentiment", topic="transformers", parent="x", device="cpu", epochs=30, patience=30,
        batch_size=8, words=200, layers=1, channels=32, heads=2, learning_rate=3e-3,
    )  # fmt: skip
    told = {"sentences": sentences, "cases": cases.assign(target=secret)}
    run = Run(settings, told, folder, folder / "model", Checkpoint(folder / "checkpoint"))
    sentiment.train(run)
    return run


def test_it_finds_the_word_that_decides(trained):
    cases = trained.tables["cases"]
    held = cases.loc[cases["split"] == "validation", "target"]
    guessed = held.value_counts(normalize=True).max()
    assert max(point["validation"] for point in trained.curve) > guessed


def test_its_vocabulary_is_learned_from_train_alone(tables, trained):
    """Words of validation that train never shows are no pieces."""
    split = tables["cases"].set_index("case")["split"]
    texts = tables["sentences"].groupby(split[tables["sentences"]["case"]].to_numpy())["text"]
    words = {name: set(" ".join(group).lower().split()) for name, group in texts}
    unseen = words["validation"] - words["train"]
    vocabulary = load_classifier(trained.folder).tokenizer.get_vocab()
    assert unseen
    assert len([word for word in unseen if word in vocabulary]) < len(unseen) / 10


def test_the_dropout_of_the_settings_reaches_the_model(trained):
    shape = load_classifier(trained.folder).model.encoder.shape
    assert shape.layer.dropout == trained.settings.dropout == 0.1
