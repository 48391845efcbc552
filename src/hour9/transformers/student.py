"""Distillation: a smaller encoder learns what a trained one answers, and how it sees each token.

Shapes: B texts in a batch, N texts, T tokens, C channels, K classes, F hidden features.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from hour9.engine.device import prepare_threads
from hour9.engine.fit import Batch
from hour9.engine.randomness import seed_all
from hour9.engine.run import Run
from hour9.params import Refused
from hour9.task import Tables
from hour9.transformers.batches import collate, in_order_of_length
from hour9.transformers.classifier import (
    SCORING_BATCH,
    EncoderClassifier,
    EncoderHead,
    Examples,
    train_classifier,
)
from hour9.transformers.layers import Transformer
from hour9.transformers.rewording import reworded
from hour9.transformers.settings import StudentSettings


def distil(run: Run, labels: Sequence[str]) -> None:
    """Train a student of the classifier in `run.parent`; write a folder of the same kind."""
    settings: StudentSettings = run.settings
    seed_all(settings.seed)
    prepare_threads(settings.threads)
    teacher = EncoderClassifier.parent(run.parent)
    student = cut_down(teacher.model, settings.layers, settings.hidden)
    train = lesson_texts(run.tables, teacher, settings)
    lesson = Lesson.of(teacher, train.tokens)

    def loss(_: nn.Module, batch: Batch) -> Tensor:
        logits, hidden = student.answer_and_states(batch["tokens"], batch["mask"])
        known_logits, known_hidden = lesson.rows(batch["rows"])
        return soft_targets(logits, known_logits, settings.temperature) + settings.match * distance(
            hidden, known_hidden, batch["mask"]
        )

    classifier = EncoderClassifier(student, teacher.tokenizer, tuple(labels))
    train_classifier(run, classifier, loss, train=train)


def lesson_texts(tables: Tables, teacher: EncoderClassifier, settings: StudentSettings) -> Examples:
    """The training texts and reworded copies. What counts is the teacher's answer to each."""
    examples = Examples.of(tables, "train", teacher)
    vectors = teacher.model.encoder.words.weight
    copies = [
        reworded(examples.tokens, vectors, teacher.tokenizer, settings.seed + number)
        for number in range(settings.copies)
    ]
    tokens = [*examples.tokens, *(text for copy in copies for text in copy)]
    return Examples(tokens, np.tile(examples.targets, 1 + settings.copies))


def soft_targets(logits: Tensor, known: Tensor, temperature: float) -> Tensor:  # (B, K) twice
    """τ² KL(softmax(z_teacher / τ) ‖ softmax(z / τ)) (Hinton et al. 2015, section 2)."""
    ours, theirs = (F.log_softmax(z / temperature, dim=1) for z in (logits, known))
    return temperature**2 * F.kl_div(ours, theirs, log_target=True, reduction="batchmean")


def distance(hidden: Tensor, known: Tensor, mask: Tensor) -> Tensor:  # (B, T, C) twice, (B, T)
    """Mean squared difference of the last states of all tokens (Jiao et al. 2020, eq. 8).

    Both are as wide, so no map between them has to be learned.
    """
    return F.mse_loss(hidden[mask.bool()], known[mask.bool()])


@dataclass(frozen=True)
class Lesson:
    """What the teacher makes of each training text, computed once. The states lie on disk, where
    25,000 reviews with copies take 40 GB; what is not in use leaves memory."""

    logits: Tensor  # (N, K)
    hidden: np.memmap  # (T of all texts, C)
    start: np.ndarray  # (N + 1,), where each text's states begin

    @classmethod
    @torch.inference_mode()
    def of(cls, teacher: EncoderClassifier, tokens: Sequence[Sequence[int]]) -> "Lesson":
        """Ask the teacher, without dropout. The file has no name, and ends with the process."""
        model, device = teacher.model, teacher.model.head.weight.device
        logits = torch.empty(len(tokens), len(teacher.labels), device=device)
        start = np.cumsum([0, *map(len, tokens)])
        shape = (int(start[-1]), teacher.model.encoder.shape.layer.channels)
        with tempfile.TemporaryFile(dir=".") as file:
            hidden = np.memmap(file, np.float32, "w+", shape=shape)
        for rows in in_order_of_length([len(ids) for ids in tokens], SCORING_BATCH):
            batch = collate([tokens[i] for i in rows])
            seen = (batch[name].to(device) for name in ("tokens", "mask"))
            logits[rows], states = model.answer_and_states(*seen)
            for row, state in zip(rows, states, strict=True):
                hidden[start[row] : start[row + 1]] = state[: len(tokens[row])].float().cpu()
        return cls(logits, hidden, start)

    def rows(self, rows: Tensor) -> tuple[Tensor, Tensor]:  # (B,) -> (B, K), (B, T, C)
        """Logits and padded last states of these texts."""
        states = [
            torch.tensor(self.hidden[self.start[row] : self.start[row + 1]])
            for row in rows.tolist()
        ]
        return self.logits[rows], pad_sequence(states, batch_first=True).to(self.logits.device)


# What the student knows before it learns


def cut_down(teacher: EncoderHead, layers: int, hidden: int) -> EncoderHead:
    """The teacher's words, head and lowest layers, with the strongest of their features."""
    shape = teacher.encoder.shape
    if layers > shape.layers or hidden > shape.layer.hidden:
        raise Refused(
            f"a student has at most its teacher's {shape.layers} layers and {shape.layer.hidden} "
            f"hidden features, got {layers} and {hidden}"
        )
    smaller = replace(shape, layers=layers, layer=replace(shape.layer, hidden=hidden))
    student = EncoderHead(Transformer(smaller), teacher.head.out_features)
    known = teacher.state_dict()
    weights = {name: known[name] for name in student.state_dict()}
    for i in range(layers):
        place = f"encoder.layers.{i}.feed_forward."
        widen, narrow = known[f"{place}widen.weight"], known[f"{place}narrow.weight"]
        kept = strongest_features(widen, narrow, hidden)  # (hidden,)
        weights[f"{place}widen.weight"] = widen[kept]
        weights[f"{place}widen.bias"] = known[f"{place}widen.bias"][kept]
        weights[f"{place}narrow.weight"] = narrow[:, kept]
    student.load_state_dict(weights)
    student.encoder.words.weight.requires_grad_(False)
    return student.to(teacher.head.weight.device)


def strongest_features(widen: Tensor, narrow: Tensor, count: int) -> Tensor:  # (F, C), (C, F)
    """Those through which most can flow, in their old order: the largest ‖row‖ ‖column‖."""
    strength = widen.norm(dim=1) * narrow.norm(dim=0)  # (F,)
    return strength.topk(count).indices.sort().values
