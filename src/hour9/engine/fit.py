"""The supervised loop: one for Transformers and graphs, on CPU and GPU.

It can be killed at any instant: run again, it continues from its checkpoint and ends with the
same bytes. Three things make that so: an epoch's batches depend on the seed and the epoch alone,
every generator's state is in the checkpoint, and what is saved is what is restored.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hour9.engine.checkpoint import State
from hour9.engine.device import accelerator
from hour9.engine.randomness import random_state, set_random_state
from hour9.engine.run import Run
from hour9.engine.settings import Supervised

Batch = Mapping[str, Tensor]


class Diverged(RuntimeError):  # noqa: N818 - reads as a sentence where it is raised
    """The loss is no longer a number."""


def fit(
    run: Run,
    model: nn.Module,
    batches: Callable[[int], Sequence[Batch]],
    loss: Callable[[nn.Module, Batch], Tensor],
    validate: Callable[[nn.Module], float],
    groups: list[dict[str, Any]] | None = None,
) -> None:
    """Train `model` and leave in it the weights of the epoch with the best validation score.

    `batches(epoch)` gives the batches of an epoch, always the same for the same epoch. `validate`
    gives a score, higher is better; training stops after `patience` epochs without a better one.
    `groups` are the optimizer's parameter groups, all trainable parameters where it is None.
    Seed before you build the model. Raises Diverged where the loss is not finite.
    """
    settings: Supervised = run.settings
    engine = accelerator(settings)
    fused = engine.device.type in ("cpu", "cuda")
    optimizer = torch.optim.AdamW(
        groups or [{"params": [p for p in model.parameters() if p.requires_grad]}],
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        fused=fused,
    )
    model.to(engine.device)
    wrapped, stepper = engine.prepare(model, optimizer)
    total = settings.epochs * len(batches(0))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda u: rate(u, total, settings))
    place = {"epoch": 0, "batch": 0, "stale": 0, "best": float("-inf"), "loss": 0.0}
    best = trained(model)

    def state() -> State:
        return {
            "place": place,
            "weights": trained(model),
            "best": best,
            "optimizer": {str(k): v for k, v in optimizer.state_dict()["state"].items()},
            "schedule": schedule.last_epoch,
            "scaler": engine.scaler.state_dict() if engine.scaler else {},
            "random": random_state(),
        }

    if saved := run.resume():
        place.update(saved["place"])
        put(model, saved["weights"])
        best = saved["best"]
        optimizer.load_state_dict(
            {
                "state": {int(k): v for k, v in saved["optimizer"].items()},
                "param_groups": optimizer.state_dict()["param_groups"],
            }
        )
        schedule.last_epoch = saved["schedule"]
        for group, peak in zip(optimizer.param_groups, schedule.base_lrs, strict=True):
            group["lr"] = peak * rate(saved["schedule"], total, settings)
        if engine.scaler:
            engine.scaler.load_state_dict(saved["scaler"])
        set_random_state(saved["random"])

    while place["epoch"] < settings.epochs and place["stale"] < settings.patience:
        epoch = int(place["epoch"])
        todo = batches(epoch)
        wrapped.train()
        while place["batch"] < len(todo):
            batch = {k: v.to(engine.device) for k, v in todo[int(place["batch"])].items()}
            with engine.autocast():
                value = loss(wrapped, batch)
            engine.backward(value)
            engine.clip_grad_norm_(model.parameters(), settings.clip)
            stepper.step()
            schedule.step()
            stepper.zero_grad()
            place["batch"] += 1
            place["loss"] += value.item()
            if place["batch"] % max(1, len(todo) // 4) == 0 and len(todo) >= 20:
                done = epoch * len(todo) + int(place["batch"])
                run.progress(done, total, f"batches, loss {place['loss'] / place['batch']:.3f}")
            run.save_if_due(state)
        mean_loss = place["loss"] / len(todo)
        if not mean_loss < float("inf"):
            raise Diverged(
                f"the loss is {mean_loss} in epoch {epoch}; lower learning_rate "
                f"({settings.learning_rate}) or clip ({settings.clip})"
            )
        wrapped.eval()
        score = validate(model)
        run.log(epoch, loss=mean_loss, validation=score)
        improved = score > place["best"]
        if improved:
            best = trained(model)
        place.update(
            epoch=epoch + 1,
            batch=0,
            loss=0.0,
            best=max(score, place["best"]),
            stale=0 if improved else place["stale"] + 1,
        )
        if len(todo) >= 20 or epoch % 20 == 19:
            run.progress(epoch + 1, settings.epochs, f"epochs, validation {score:.3f}")
        run.save_if_due(state)
    put(model, best)
    model.eval()


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
