"""Distillation: what the student is at first, and what each part of its loss asks for."""

import math

import pytest
import torch

from hour9.engine.checkpoint import Checkpoint
from hour9.engine.run import Run
from hour9.task import without_test
from hour9.transformers import sentiment, student
from hour9.transformers.batches import collate
from hour9.transformers.bert import read_bert
from hour9.transformers.classifier import EncoderHead, Examples, load_classifier
from hour9.transformers.settings import StudentSettings
from hour9.transformers.student import Lesson, cut_down, distance, soft_targets


@pytest.fixture(scope="module")
def teacher(model_folder):
    return load_classifier(model_folder)


def test_a_student_of_full_size_is_its_teacher(teacher):
    shape = teacher.model.encoder.shape
    student = cut_down(teacher.model, shape.layers, shape.layer.hidden).eval()
    tokens = torch.tensor([[2, 7, 8, 9, 3]])
    mask = torch.ones_like(tokens)
    torch.testing.assert_close(student(tokens, mask), teacher.model(tokens, mask))


def test_features_through_which_nothing_flows_are_cut_first(tiny_bert):
    model = EncoderHead(read_bert(tiny_bert), 2).eval()
    with torch.no_grad():
        for layer in model.encoder.layers:  # every second feature is dead
            layer.feed_forward.narrow.weight[:, ::2] = 0.0
    tokens = torch.tensor([[2, 7, 8, 9, 3]])
    mask = torch.ones_like(tokens)
    student = cut_down(model, layers=2, hidden=16).eval()  # of 32
    torch.testing.assert_close(student(tokens, mask), model(tokens, mask))


def test_a_student_larger_than_its_teacher_is_refused(teacher):
    with pytest.raises(ValueError, match=r"at most its teacher's 2 layers .* got 3 and 32"):
        cut_down(teacher.model, layers=3, hidden=32)


def test_soft_targets_are_a_divergence_in_nats():
    """At temperature 1, p = (¾, ¼) and q = (½, ½): ¾ log 1.5 + ¼ log 0.5."""
    known, ours = torch.tensor([[math.log(3.0), 0.0]]), torch.zeros(1, 2)
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert soft_targets(ours, known, 1.0).item() == pytest.approx(expected, rel=1e-5)
    assert soft_targets(known, known, 3.0).item() == pytest.approx(0.0, abs=1e-7)


def test_soft_targets_pull_as_hard_at_any_temperature():
    """Hinton et al. 2015, eq. 4: for high τ the gradient of τ² KL is (z - z_teacher) / K."""
    known, ours = torch.tensor([[0.3, -0.3]]), torch.zeros(1, 2, requires_grad=True)
    soft_targets(ours, known, 1000.0).backward()
    torch.testing.assert_close(ours.grad, -known / 2, rtol=1e-3, atol=1e-5)


def test_padding_has_no_distance():
    hidden, mask = torch.zeros(1, 3, 2), torch.tensor([[1, 1, 0]])
    known = torch.tensor([[[1.0, 1.0], [3.0, 3.0], [99.0, 99.0]]])
    assert distance(hidden, known, mask).item() == (1 + 1 + 9 + 9) / 4


def test_a_lesson_is_what_the_teacher_makes_of_each_text(teacher, tables):
    tokens = Examples.of(tables, "train", teacher).tokens
    lesson, rows = Lesson.of(teacher, tokens), torch.tensor([5, 0, 17])
    batch = collate([tokens[i] for i in rows])
    logits, hidden = lesson.rows(rows)
    with torch.no_grad():
        expected = teacher.model.encoder(batch["tokens"], batch["mask"])
        torch.testing.assert_close(logits, teacher.model(batch["tokens"], batch["mask"]))
    seen = batch["mask"].bool()
    torch.testing.assert_close(hidden[seen], expected[seen])


def test_a_student_comes_closer_to_its_teacher(tables, model_folder, teacher, tmp_path):
    settings = StudentSettings(
        task="sentiment", topic="transformers", parent="x", device="cpu", epochs=8, patience=8,
        batch_size=8, learning_rate=5e-3, layers=1, hidden=16, copies=1,
    )  # fmt: skip
    folder, checkpoint = tmp_path / "model", Checkpoint(tmp_path / "checkpoint")
    run = Run(settings, without_test(tables), model_folder, folder, checkpoint)
    sentiment.train(run)
    losses = [point["loss"] for point in run.curve]
    assert losses[-1] < 0.7 * losses[0]
    encoder = load_classifier(folder).model.encoder
    assert encoder.shape.layers == 1
    assert torch.equal(encoder.words.weight, teacher.model.encoder.words.weight)  # as they were


def test_a_student_is_asked_for_both_and_from_other_texts_in_each_copy(
    tables, model_folder, teacher, tmp_path, monkeypatch
):
    given = {}
    monkeypatch.setattr(
        student, "train_classifier", lambda run, classifier, loss, train: given.update(locals())
    )
    settings = StudentSettings(
        task="sentiment", topic="transformers", parent="x", device="cpu", layers=1, hidden=16,
        copies=2, temperature=3.0, match=5.0,
    )  # fmt: skip
    sentiment.train(
        Run(settings, without_test(tables), model_folder, tmp_path, Checkpoint(tmp_path))
    )
    (batch, *_), model = given["train"].batches(8, (0, 0)), given["classifier"].model.eval()
    seen = batch["tokens"], batch["mask"]
    with torch.no_grad():
        model.head.weight *= 100  # sure of itself: at small logits, temperatures are alike
        (ours, hidden), (theirs, known) = (
            m.answer_and_states(*seen) for m in (model, teacher.model)
        )
        expected = soft_targets(ours, theirs, 3.0) + 5.0 * distance(hidden, known, seen[1])
        torch.testing.assert_close(given["loss"](model, batch), expected)
    own = Examples.of(tables, "train", teacher).tokens
    texts, n = given["train"].tokens, len(own)
    assert (texts[:n], len(texts)) == (own, 3 * n)
    assert texts[n : 2 * n] != texts[2 * n :]
