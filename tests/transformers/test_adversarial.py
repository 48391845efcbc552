"""Adversarial training: where a text is moved, and what is learned there."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from hour9.transformers import sentiment
from hour9.transformers.adversarial import adversarial, against
from hour9.transformers.batches import collate
from hour9.transformers.classifier import load_classifier

SIZE = 0.05
TOKENS = [[2, 11, 12, 13, 3], [2, 14, 15, 3]]


@pytest.fixture(scope="module")
def model(model_folder):
    return load_classifier(model_folder).model.double().eval()


@pytest.fixture
def batch():
    return {**collate(TOKENS), "labels": torch.tensor([0, 1])}


def test_each_text_is_moved_by_a_share_of_its_own_length_and_padding_is_not():
    torch.manual_seed(0)
    x, gradient = torch.randn(2, 2, 5, 4, dtype=torch.float64)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    moved = against(x, gradient, mask, SIZE)
    for row, length in enumerate(mask.sum(dim=1)):
        text = x[row, :length]
        assert torch.linalg.norm(moved[row, :length]).item() == pytest.approx(
            SIZE * torch.linalg.norm(text).item()
        )
        ratio = moved[row, :length] / gradient[row, :length]
        torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio))
        assert ratio.mean() > 0
        assert not moved[row, length:].any()


def test_where_nothing_changes_the_loss_nothing_moves():
    x = torch.randn(1, 3, 4)
    assert not against(x, torch.zeros_like(x), torch.ones(1, 3), SIZE).any()


def test_the_loss_is_the_mean_of_both_places_and_the_second_is_the_harder(model, batch):
    x = model.encoder.embed(batch["tokens"]).detach().requires_grad_()
    plain = cross_entropy(model(batch["tokens"], batch["mask"]), batch["labels"])
    cross_entropy(model.classify(x, batch["mask"]), batch["labels"]).backward()
    moved = x.detach() + against(x.detach(), x.grad, batch["mask"], SIZE)
    logits = model.classify(moved, batch["mask"])
    hard = cross_entropy(logits, batch["labels"])
    torch.testing.assert_close(adversarial(model, SIZE)(model, batch), (plain + hard) / 2)
    assert hard > plain


def test_padding_changes_no_loss(model, batch):
    padded = {
        **{name: torch.nn.functional.pad(batch[name], (0, 3)) for name in ("tokens", "mask")},
        "labels": batch["labels"],
    }
    loss = adversarial(model, SIZE)
    torch.testing.assert_close(loss(model, padded), loss(model, batch))


def test_the_direction_itself_is_not_learned_from(model, batch):
    """r is a constant to the gradient, as in the paper: that of both losses at fixed places."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    x = model.encoder.embed(batch["tokens"])

    def lost(x):
        return cross_entropy(model.classify(x, batch["mask"]), batch["labels"])

    (gradient,) = torch.autograd.grad(lost(x), x)
    r = against(x, gradient, batch["mask"], SIZE).detach()
    x = model.encoder.embed(batch["tokens"])
    expected = torch.autograd.grad((lost(x) + lost(x + r)) / 2, parameters, allow_unused=True)
    found = torch.autograd.grad(
        adversarial(model, SIZE)(model, batch), parameters, allow_unused=True
    )
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("frozen", [0, 1])
def test_the_setting_reaches_the_training(make_run, model_folder, tmp_path, frozen):
    run = make_run(tmp_path)
    run.settings = run.settings.model_copy(update={"adversarial": SIZE, "frozen": frozen})
    sentiment.train(run)
    assert (run.folder / "model.safetensors").read_bytes() != (
        model_folder / "model.safetensors"
    ).read_bytes()
