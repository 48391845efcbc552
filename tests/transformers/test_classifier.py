"""What every encoder with a head shares: answers, folders, and a training that survives."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from hour9.transformers import sentiment
from hour9.transformers.batches import collate, encode, read_tokenizer
from hour9.transformers.bert import read_bert
from hour9.transformers.classifier import (
    EncoderClassifier,
    EncoderHead,
    Examples,
    load_classifier,
)

TEXTS = ["The plot is dull.", "Although the acting felt superb, I found the film very tedious."]


@pytest.fixture(scope="module")
def classifier(model_folder):
    return load_classifier(model_folder)


def test_padding_changes_no_answer(classifier):
    together = classifier.probabilities(TEXTS)
    alone = np.concatenate([classifier.probabilities([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, rtol=1e-4)


def test_answers_stand_in_the_order_of_the_texts(classifier):
    np.testing.assert_allclose(
        classifier.probabilities(TEXTS[::-1]), classifier.probabilities(TEXTS)[::-1], rtol=1e-4
    )


def test_a_batch_says_which_examples_stand_in_it(tables, classifier):
    examples = Examples.of(tables, "train", classifier)
    for batch in examples.batches(8, (0, 0)):
        lengths = [len(examples.tokens[i]) for i in batch["rows"]]
        assert batch["mask"].sum(dim=1).tolist() == lengths
        assert batch["labels"].tolist() == examples.targets[batch["rows"]].tolist()


class Killed(BaseException):
    pass


def test_a_killed_training_goes_on_and_ends_with_the_same_bytes(
    make_run, model_folder, tmp_path, capsys
):
    run = make_run(tmp_path)
    saves = []

    def die(points):
        saves.append(points)
        if len(saves) == 11:  # of eight batches an epoch: in the middle of the second
            raise Killed

    run.publish = die
    with pytest.raises(Killed):
        sentiment.train(run)
    assert not run.folder.exists()
    sentiment.train(make_run(tmp_path))
    assert "continues from its checkpoint" in capsys.readouterr().err
    for expected in sorted(model_folder.iterdir()):
        assert (run.folder / expected.name).read_bytes() == expected.read_bytes()


def test_a_model_folder_needs_nothing_else(model_folder):
    names = sorted(path.name for path in model_folder.iterdir())
    assert names == ["config.json", "model.safetensors", "tokenizer.json"]
    assert str(Path.cwd()) not in (model_folder / "config.json").read_text()


def test_it_learns_to_tell_two_words_apart(tiny_bert):
    torch.manual_seed(0)
    model = EncoderHead(read_bert(tiny_bert), 2)
    tokenizer = read_tokenizer(tiny_bert, 16)
    tokens = encode(tokenizer, ["the plot is dull", "the plot is superb"] * 8)
    batch, labels = collate(tokens), torch.tensor([0, 1] * 8)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(30):
        loss = cross_entropy(model(batch["tokens"], batch["mask"]), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    classifier = EncoderClassifier(model, tokenizer, ("negative", "positive"))
    assert classifier.predict(tokens).argmax(axis=1).tolist() == [0, 1] * 8


def test_validation_chooses_the_epoch_and_teaches_nothing(make_run, tmp_path):
    """Of one epoch there is no choice: with other labels the same weights, and another score."""
    honest, lied = make_run(tmp_path / "honest"), make_run(tmp_path / "lied")
    cases = lied.tables["cases"]
    other = cases["target"].map({"negative": "positive", "positive": "negative"})
    targets = cases["target"].mask(cases["split"] == "validation", other)
    lied.tables = {**lied.tables, "cases": cases.assign(target=targets)}
    for run in (honest, lied):
        run.settings = run.settings.model_copy(update={"epochs": 1})
        sentiment.train(run)
    first, second = ((run.folder / "model.safetensors").read_bytes() for run in (honest, lied))
    assert first == second
    assert honest.curve[-1]["validation"] == 1 - lied.curve[-1]["validation"] != 0.5


def test_what_the_head_reads_is_dropped_in_training(classifier):
    model = EncoderHead(classifier.model.encoder.eval(), 2)  # the encoder itself drops nothing
    x, mask = torch.randn(1, 4, 16), torch.ones(1, 4)
    assert not torch.equal(model.answer(x, mask), model.answer(x, mask))
    model.eval()
    assert torch.equal(model.answer(x, mask), model.answer(x, mask))
