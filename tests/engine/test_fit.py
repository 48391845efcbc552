import pytest
import torch
from torch import Tensor, nn

from hour9.engine.checkpoint import Checkpoint
from hour9.engine.fit import Diverged, fit, rate
from hour9.engine.randomness import seed_all
from hour9.engine.run import Run
from hour9.engine.settings import Supervised

X = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
Y = X @ torch.tensor([[1.0], [-2.0], [0.5]])


class Killed(BaseException):
    """Stands for kill -9: nothing of ours may catch it."""


class Mortal(Checkpoint):
    """Saves at every chance, and dies right after so many."""

    def __init__(self, folder, lives):
        super().__init__(folder, seconds=0)
        self.lives = lives

    def save(self, state):
        super().save(state)
        self.lives -= 1
        if self.lives == 0:
            raise Killed


def make_run(tmp_path, checkpoint, **settings) -> Run:
    known = {"task": "toy", "topic": "graphs", "parent": "x", "architecture": "toy", "epochs": 6}
    return Run(
        settings=Supervised(**{**known, "learning_rate": 0.05, "warmup": 0.2, **settings}),
        tables={},
        parent=tmp_path,
        folder=tmp_path,
        checkpoint=checkpoint,
    )


def train(run: Run) -> list[Tensor]:
    """Six epochs of four batches, shuffled by seed and epoch, with dropout: much to forget."""
    seed_all(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 1))

    def batches(epoch: int) -> list[dict[str, Tensor]]:
        order = torch.randperm(60, generator=torch.Generator().manual_seed(epoch))
        return [{"x": X[rows], "y": Y[rows]} for rows in order.split(15)]

    fit(
        run,
        model,
        batches,
        loss=lambda net, batch: nn.functional.mse_loss(net(batch["x"]), batch["y"]),
        validate=lambda net: -nn.functional.mse_loss(net(X), Y).item(),
    )
    return [p.detach().clone() for p in model.parameters()]


@pytest.mark.parametrize(
    ("lives", "accumulate"), [(1, 1), (3, 1), (5, 1), (14, 1), (29, 1), (2, 3), (7, 3)]
)
def test_a_killed_training_ends_where_an_unharmed_one_ends(tmp_path, lives, accumulate):
    unharmed = make_run(tmp_path, Checkpoint(tmp_path / "a"), accumulate=accumulate)
    expected = train(unharmed)
    with pytest.raises(Killed):
        train(make_run(tmp_path, Mortal(tmp_path / "b", lives), accumulate=accumulate))
    resumed = make_run(tmp_path, Checkpoint(tmp_path / "b"), accumulate=accumulate)
    for ours, theirs in zip(train(resumed), expected, strict=True):
        assert torch.equal(ours, theirs)
    assert resumed.curve == unharmed.curve


def test_two_batches_accumulated_are_one_of_twice_the_size(tmp_path):
    def weight_after(size: int, accumulate: int) -> Tensor:
        seed_all(0)
        model = nn.Linear(3, 1).double()
        data = [
            {"x": X[i : i + size].double(), "y": Y[i : i + size].double()}
            for i in range(0, 60, size)
        ]
        checkpoint = Checkpoint(tmp_path / str(size))
        run = make_run(tmp_path, checkpoint, accumulate=accumulate, epochs=2)
        fit(
            run,
            model,
            lambda epoch: data,
            loss=lambda net, batch: nn.functional.mse_loss(net(batch["x"]), batch["y"]),
            validate=lambda net: float(len(run.curve)),
        )
        return model.weight.detach()

    torch.testing.assert_close(weight_after(15, accumulate=2), weight_after(30, accumulate=1))


def test_an_epoch_may_be_a_batch_shorter_than_the_first(tmp_path):
    """Where that ends it at a place that else has a point of the curve: 20 updates of 21."""
    run = make_run(tmp_path, Checkpoint(tmp_path / "none"))
    lengths = [21, 20, 21, 22, 20, 21]
    fit(
        run,
        nn.Linear(3, 1),
        lambda epoch: [{"x": X, "y": Y}] * lengths[epoch],
        loss=lambda net, batch: nn.functional.mse_loss(net(batch["x"]), batch["y"]),
        validate=lambda net: 0.0,
    )
    assert sum("validation" in point for point in run.curve) == len(lengths)


def test_training_lowers_the_loss(tmp_path):
    run = make_run(tmp_path, Checkpoint(tmp_path / "a"), epochs=30)
    train(run)
    assert run.curve[-1]["loss"] < run.curve[0]["loss"] / 3


def test_the_weights_of_the_best_epoch_are_kept(tmp_path):
    seed_all(0)
    model = nn.Linear(1, 1, bias=False)
    scores = iter([1.0, 3.0, 2.0, 2.5])
    kept = []

    def validate(net: nn.Module) -> float:
        kept.append(model.weight.detach().clone())
        return next(scores)

    run = make_run(tmp_path, Checkpoint(tmp_path / "a"), epochs=4)
    batch = {"x": torch.ones(1, 1)}
    fit(run, model, lambda epoch: [batch], lambda net, b: net(b["x"]).sum(), validate)
    assert torch.equal(model.weight, kept[1])


def test_training_stops_when_patience_is_over(tmp_path):
    run = make_run(tmp_path, Checkpoint(tmp_path / "a"), epochs=50, patience=3)
    batch = {"x": torch.ones(1, 1)}
    fit(
        run,
        nn.Linear(1, 1),
        lambda epoch: [batch],
        lambda net, b: net(b["x"]).sum(),
        lambda net: 0.0,
    )
    assert len(run.curve) == 4  # the first is the best, three more do not better it


def test_a_loss_that_is_no_number_is_an_error_with_a_cure(tmp_path):
    run = make_run(tmp_path, Checkpoint(tmp_path / "a"))
    batch = {"x": torch.full((1, 1), float("nan"))}
    with pytest.raises(Diverged, match="lower learning_rate"):
        fit(
            run, nn.Linear(1, 1), lambda e: [batch], lambda net, b: net(b["x"]).sum(), lambda n: 0.0
        )


def test_a_validation_that_is_no_number_is_an_error_and_not_the_first_weights(tmp_path):
    run = make_run(tmp_path, Checkpoint(tmp_path / "a"))
    batch = {"x": torch.ones(1, 1)}
    with pytest.raises(Diverged, match="validation says nan after epoch 0"):
        fit(run, nn.Linear(1, 1), lambda e: [batch], lambda net, b: net(b["x"]).sum(),
            lambda net: float("nan"))  # fmt: skip


def test_the_step_size_rises_to_its_peak_and_falls_to_zero(tmp_path):
    settings = make_run(tmp_path, Checkpoint(tmp_path)).settings  # warm-up of 0.2
    shares = [rate(update, 100, settings) for update in range(101)]
    assert shares.index(max(shares)) == 20
    assert max(shares) == 1.0
    assert shares[100] == 0.0
