"""The supervised loop: one for Transformers and graphs, on CPU and GPU.

It can be killed at any instant: run again, it continues from its checkpoint and ends with the
same bytes. Three things make that so: an epoch's batches depend on the seed and the epoch alone,
every generator's state is in the checkpoint, and what is saved is what is restored.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hour9.engine import processes
from hour9.engine.checkpoint import State
from hour9.engine.device import accelerator
from hour9.engine.randomness import random_state, set_random_state
from hour9.engine.run import Run
from hour9.engine.settings import Supervised

Batch = Mapping[str, Tensor]
Batches = Callable[[int], Sequence[Batch]]
Loss = Callable[[nn.Module, Batch], Tensor]
Validate = Callable[[nn.Module], float]

POINTS_AN_EPOCH = 8
LONG_EPOCH = 20  # updates; a shorter one needs no point of the curve within it


class Diverged(RuntimeError):  # noqa: N818 - reads as a sentence where it is raised
    """The loss, or what validation says, is no longer a number."""


def fit(
    run: Run,
    model: nn.Module,
    batches: Batches,
    loss: Loss,
    validate: Validate,
    groups: list[dict[str, Any]] | None = None,
) -> None:
    """Train `model` and leave in it the weights of the epoch with the best validation score.

    `batches(epoch)` gives the batches of an epoch, always the same for the same epoch. `validate`
    gives a score, higher is better; training stops after `patience` epochs without a better one.
    `groups` are the optimizer's parameter groups, all trainable parameters where it is None.
    Seed before you build the model. Raises Diverged where the loss or a validation is not finite.
    """

    def updates(epoch: int) -> list[Sequence[Batch]]:
        return together(batches(epoch), run.settings.accumulate)

    if processes.world() > 1:
        processes.check_shares(len(batches(0)))
    training = Training(run, model, len(updates(0)), groups)
    if saved := run.resume():
        training.restore(saved)
    place, settings = training.place, run.settings
    while place.epoch < settings.epochs and place.stale < settings.patience:
        training.rest_of_epoch(updates(place.epoch), loss)
        training.end_epoch(validate)
    put(model, training.best)
    model.eval()


def together(batches: Sequence[Batch], count: int) -> list[Sequence[Batch]]:
    """The batches of each update, `count` at a time; what is left over makes a smaller one."""
    return [batches[start : start + count] for start in range(0, len(batches), count)]


@dataclass
class Place:
    """Where in the training we are."""

    epoch: int = 0
    update: int = 0  # updates of this epoch that are done
    best: float = -math.inf  # validation score
    stale: int = 0  # epochs since then
    loss: float = 0.0  # sum over the updates since the last point of the curve
    seen: int = 0  # how many they are


class Training:
    """A model with its optimizer, its place and its best weights so far."""

    def __init__(
        self, run: Run, model: nn.Module, length: int, groups: list[dict[str, Any]] | None
    ):
        self.run = run
        self.settings: Supervised = run.settings
        self.engine = accelerator(self.settings)
        self.model = model.to(self.engine.device)
        self.length = length  # an epoch may differ from the first by a batch
        self.every = length // POINTS_AN_EPOCH if length >= LONG_EPOCH else 0
        self.trainable = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            groups or [{"params": self.trainable}],
            lr=self.settings.learning_rate,
            weight_decay=self.settings.weight_decay,
            fused=True,
        )
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]
        self.wrapped, stepper = self.engine.prepare(model, self.optimizer)
        # Accelerate's step searches for an optional package: half a small network's time.
        self.stepper = stepper if self.engine.scaler else self.optimizer
        self.place = Place()
        self.best = trained(model)

    def rest_of_epoch(self, todo: Sequence[Sequence[Batch]], loss: Loss) -> None:
        """Make the updates that this epoch still has."""
        place = self.place
        self.wrapped.train()
        for batches in todo[place.update :]:
            self.update(batches, loss)
            place.update += 1
            within = place.update < len(todo)  # its end has a point of its own
            if within and self.every and place.update % self.every == 0:
                self.add_point()
            self.run.save_if_due(self.state)

    def update(self, batches: Sequence[Batch], loss: Loss) -> None:
        """One step of the optimizer, along the mean gradient of these batches."""
        step = self.place.epoch * self.length + self.place.update
        share = rate(step, self.settings.epochs * self.length, self.settings)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * share
        lost = 0.0
        for number, batch in processes.mine(batches):
            if self.settings.accumulate > 1:
                processes.seed_batch(self.settings.seed, step, number)
            on_device = {name: tensor.to(self.engine.device) for name, tensor in batch.items()}
            with self.engine.autocast():
                value = loss(self.wrapped, on_device) / len(batches)
            self.engine.backward(value)
            lost += value.item()
        self.place.loss += processes.total(lost)
        processes.add_gradients(self.trainable)
        self.engine.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        self.stepper.step()
        self.stepper.zero_grad()
        self.place.seen += 1

    def add_point(self, **measured: float) -> None:
        """A point of the curve: the mean loss since the last one, and what else was measured."""
        place, settings = self.place, self.settings
        step = place.epoch * self.length + place.update
        mean = place.loss / place.seen
        if not math.isfinite(mean):
            raise Diverged(
                f"the loss is {mean} in epoch {place.epoch}; lower learning_rate "
                f"({settings.learning_rate}) or clip ({settings.clip})"
            )
        place.loss, place.seen = 0.0, 0
        self.run.log(step, loss=mean, **measured)
        said = ", ".join(f"{k} {v:.3f}" for k, v in {"loss": mean, **measured}.items())
        if self.length >= LONG_EPOCH or (place.epoch + 1) % LONG_EPOCH == 0:
            self.run.progress(step, settings.epochs * self.length, f"updates, {said}")

    def end_epoch(self, validate: Validate) -> None:
        """Validate, keep the weights if they are the best so far, go on to the next epoch."""
        place = self.place
        self.wrapped.eval()
        score = processes.agreed(lambda: validate(self.model))
        self.add_point(validation=score)
        if not math.isfinite(score):
            raise Diverged(
                f"validation says {score} after epoch {place.epoch}: the model answers with what "
                f"is no number; lower learning_rate ({self.settings.learning_rate})"
            )
        place.stale += 1
        if score > place.best:
            place.best, place.stale, self.best = score, 0, trained(self.model)
        place.epoch, place.update = place.epoch + 1, 0
        self.run.save_if_due(self.state)

    def state(self) -> State:
        """All that it takes to go on."""
        return {
            "place": asdict(self.place),
            "weights": trained(self.model),
            "best": self.best,
            "optimizer": {str(k): v for k, v in self.optimizer.state_dict()["state"].items()},
            "scaler": self.engine.scaler.state_dict() if self.engine.scaler else {},
            "random": random_state(),
        }

    def restore(self, state: State) -> None:
        """The inverse of `state`."""
        vars(self.place).update(state["place"])
        put(self.model, state["weights"])
        self.best = state["best"]
        moments = {int(number): moment for number, moment in state["optimizer"].items()}
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        if self.engine.scaler:
            self.engine.scaler.load_state_dict(state["scaler"])
        set_random_state(state["random"])


def rate(update: int, total: int, settings: Supervised) -> float:
    """Share of the peak step size: up over the warm-up, then level or down to zero."""
    start = settings.warmup * total
    if update < start:
        return (update + 1) / (start + 1)
    return (total - update) / max(1.0, total - start) if settings.decay else 1.0


def trained(model: nn.Module) -> dict[str, Tensor]:
    """A copy of all that training changes: trainable parameters and buffers."""
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    return {k: v.detach().clone() for k, v in model.state_dict().items() if k not in frozen}


def put(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Set what `trained` copied."""
    missing, unexpected = model.load_state_dict(weights, strict=False)
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert not unexpected, unexpected
    assert set(missing) <= frozen, missing
