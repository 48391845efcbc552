import pytest
import torch
from torch import Tensor, nn

from hour9.engine.checkpoint import Checkpoint
from hour9.engine.fit import Diverged, fit, put, rate
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


def test_a_resumed_training_makes_only_the_updates_that_were_left(tmp_path):
    made = []

    def loss(net: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        made.append(net.training)
        return squared_error(net, batch)

    def train_on(checkpoint: Checkpoint) -> None:
        run = make_run(tmp_path, checkpoint, epochs=3)
        fit(run, nn.Linear(3, 1), lambda epoch: [{"x": X, "y": Y}] * 4, loss, lambda net: 0.0)

    with pytest.raises(Killed):
        train_on(Mortal(tmp_path / "c", lives=7))  # four updates, the epoch's end, two updates
    assert len(made) == 6
    train_on(Checkpoint(tmp_path / "c"))
    assert len(made) == 12


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_point_of_the_curve_has_the_mean_loss_since_the_last_one(tmp_path, accumulate):
    """Of 24 updates there is one after every third; update n loses n."""
    run = make_run(tmp_path, Checkpoint(tmp_path / "a"), epochs=2, accumulate=accumulate)
    losses = [torch.tensor(n) for n in range(1, 25) for _ in range(accumulate)]
    fit(
        run,
        nn.Linear(3, 1),
        lambda epoch: [{"x": X, "loss": loss} for loss in losses],
        lambda net, batch: 0 * net(batch["x"]).sum() + batch["loss"],
        lambda net: float(len(run.curve)),
    )
    assert [point["loss"] for point in run.curve] == [2, 5, 8, 11, 14, 17, 20, 23] * 2
    assert [point["step"] for point in run.curve] == [*range(3, 49, 3)]
    assert ["validation" in point for point in run.curve] == ([False] * 7 + [True]) * 2


@pytest.mark.parametrize("accumulate", [2, 3])  # of four batches: one is left over
def test_batches_accumulated_are_one_of_their_size(tmp_path, accumulate):
    def weight_after(size: int, accumulate: int) -> Tensor:
        seed_all(0)
        model = nn.Linear(3, 1).double()
        data = [
            {"x": X[i : i + size].double(), "y": Y[i : i + size].double()}
            for i in range(0, 60, size)
        ]
        checkpoint = Checkpoint(tmp_path / str(size))
        run = make_run(tmp_path, checkpoint, accumulate=accumulate, epochs=2, clip=1e9)
        fit(
            run,
            model,
            lambda epoch: data,
            loss=lambda net, batch: nn.functional.mse_loss(net(batch["x"]), batch["y"]),
            validate=lambda net: float(len(run.curve)),
        )
        return model.weight.detach()

    torch.testing.assert_close(weight_after(15, accumulate), weight_after(15 * accumulate, 1))


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


def squared_error(net: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return nn.functional.mse_loss(net(batch["x"]), batch["y"])


def test_a_gradient_is_cut_to_the_longest_that_is_allowed(tmp_path):
    """Where all are longer, it does not matter how long one was."""

    def weight_after(*sizes: float) -> Tensor:
        seed_all(0)
        model = nn.Linear(3, 1)
        data = [{"x": X, "y": Y, "size": torch.tensor(size)} for size in sizes]
        run = make_run(tmp_path, Checkpoint(tmp_path / "none"), epochs=1, clip=1e-3)
        fit(run, model, lambda e: data, lambda n, b: b["size"] * squared_error(n, b), lambda n: 0.0)
        return model.weight.detach()

    torch.testing.assert_close(weight_after(1.0, 100.0, 1.0), weight_after(1.0, 1.0, 1.0))


def test_each_group_has_its_own_step_size_and_decay(tmp_path):
    """Where nothing pulls, w becomes w (1 - η λ)^n; without a decay of η, it stays as it is."""
    model = nn.Linear(3, 1)
    groups = [
        {"params": [model.weight], "lr": 0.2, "weight_decay": 0.5},
        {"params": [model.bias]},
    ]
    expected = model.weight * (1 - 0.2 * 0.5) ** 4, model.bias * (1 - 0.05 * 0.1) ** 4
    run = make_run(
        tmp_path, Checkpoint(tmp_path / "a"), epochs=4, warmup=0, decay=False, weight_decay=0.1
    )
    fit(
        run,
        model,
        lambda epoch: [{"x": X}],
        lambda net, batch: 0 * net(batch["x"]).sum(),
        lambda net: float(len(run.curve)),
        groups,
    )
    torch.testing.assert_close((model.weight, model.bias), expected)


def test_the_step_size_of_each_update_is_its_share_of_the_peak(tmp_path):
    """Where nothing pulls, w becomes w Π (1 - η_t λ): three updates an epoch, of four epochs."""
    model = nn.Linear(3, 1)
    run = make_run(tmp_path, Checkpoint(tmp_path / "a"), epochs=4, warmup=0.25, weight_decay=0.5)
    shares = torch.tensor([rate(update, 12, run.settings) for update in range(12)])
    expected = model.weight.detach() * (1 - 0.05 * shares * 0.5).prod()
    fit(
        run,
        model,
        lambda epoch: [{"x": X}] * 3,
        lambda net, batch: 0 * net(batch["x"]).sum(),
        lambda net: float(len(run.curve)),
    )
    torch.testing.assert_close(model.weight.detach(), expected)


def test_weights_that_lack_a_trained_parameter_are_not_put():
    with pytest.raises(AssertionError, match="bias"):
        put(nn.Linear(1, 1), {"weight": torch.ones(1, 1)})


def test_a_model_is_in_training_while_it_learns_and_not_while_it_is_validated(tmp_path):
    modes = []

    def loss(net: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        modes.append(net.training)
        return squared_error(net, batch)

    def validate(net: nn.Module) -> float:
        modes.append(net.training)
        return 0.0

    run = make_run(tmp_path, Checkpoint(tmp_path / "a"), epochs=2)
    fit(run, nn.Linear(3, 1), lambda epoch: [{"x": X, "y": Y}], loss, validate)
    assert modes == [True, False] * 2


def test_the_best_weights_survive_a_kill_though_no_later_epoch_betters_them(tmp_path):
    def weight_after(checkpoint: Checkpoint) -> Tensor:
        seed_all(0)
        model, run = nn.Linear(3, 1), make_run(tmp_path, checkpoint)
        data = [{"x": X, "y": Y}]
        fit(run, model, lambda e: data, squared_error, lambda net: -float(len(run.curve)))
        return model.weight.detach()

    expected = weight_after(Checkpoint(tmp_path / "a"))
    with pytest.raises(Killed):
        weight_after(Mortal(tmp_path / "b", lives=5))
    assert torch.equal(weight_after(Checkpoint(tmp_path / "b")), expected)
