"""How fast the classifiers of `sentiment` learn and answer, beside Hugging Face, one thread.

    python benchmarks/sentiment_speed.py                 # after `make run`, with SST-2 at hand
    python benchmarks/sentiment_speed.py --only answer   # or: train, steps
    python benchmarks/sentiment_speed.py --short         # seconds, on toys; records nothing

train   One epoch of fine-tuning, samples per CPU second: ours, with all layers and with the lowest
        as published, and Hugging Face's Trainer as it comes and with its length grouping. Same
        weights, sentences, batch size and step size; accuracy on all of test. Both in bf16, too,
        where the processor multiplies it.
steps   What each of our choices gains, one after the other, starting from what the Trainer does.
answer  One text of 32 tokens: int8 and student beside Hugging Face's eager fp32 and the teacher;
        how many answers are the same, how many points are lost, how large the models are.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # read by torch and its libraries when they are loaded

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file
from torch import Tensor, nn

from hour9.engine.checkpoint import Checkpoint
from hour9.engine.fit import fit
from hour9.engine.run import Run
from hour9.engine.settings import Source, load_settings
from hour9.params import read_params
from hour9.task import Tables, read_tables, without_test
from hour9.transformers.attention import MultiHeadAttention
from hour9.transformers.batches import collate, read_tokenizer
from hour9.transformers.bert import parameter_groups, read_bert, trainable_bert
from hour9.transformers.classifier import (
    EncoderClassifier,
    EncoderHead,
    Examples,
    cross_entropy,
    load_classifier,
)
from hour9.transformers.layers import keys, mean_of_tokens
from hour9.transformers.sentiment import TASK
from record import Pair, Row, compare, measure, multiplies_bf16, record

LABELS = ("negative", "positive")
LENGTH = 32  # tokens of the text that is timed
CUT = 128  # tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=("train", "steps", "answer"))
    parser.add_argument("--short", action="store_true", help="toys, in seconds; records nothing")
    parser.add_argument("--root", default="../shared/data/sst2", help="sentences to train on")
    parser.add_argument("--sentences", type=int, default=960, help="how many of them")
    parser.add_argument("--rounds", type=int, default=1, help="trainings of each kind")
    parser.add_argument("--frozen", type=int, default=2, help="layers that stay as published")
    parser.add_argument("--models", type=Path, default=Path("models/sentiment"))
    parser.add_argument("--data", type=Path, default=Path("data/sentiment"), help="to answer")
    options = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as scratch:
        weights = Path("data/weights/minilm")
        if options.short:
            weights, options.models, tables = toys(Path(scratch))
            options.sentences, options.frozen = 32, 1
            learned = answered = tables
        else:
            learned = TASK.ingest(Source(kind="path", root=options.root))
            answered = read_tables(options.data)
        rows = []
        if options.only in (None, "train"):
            rows += training(weights, learned, options, Path(scratch))
        if options.only in (None, "steps"):
            steps(weights, learned, options)
        if options.only in (None, "answer"):
            rows += answering(weights, options.models, answered, 20 if options.short else 300)
    if not options.short:
        record(rows)


# train


def training(
    weights: Path, tables: Tables, options: argparse.Namespace, scratch: Path
) -> list[Row]:
    """Samples per CPU second of ways to train one epoch, and what they learned."""
    train = few(tables, weights, "train", options.sentences)
    test = few(tables, weights, "test")
    grouped = {"train_sampling_strategy": "group_by_length"}
    ours_with = partial(ours, weights, train, test, scratch)
    trainer_with = partial(trainer, weights, train, test, scratch)
    mine: dict[str, Callable[[], tuple[float, float]]] = {
        "fine-tuning MiniLM": ours_with,
        f"fine-tuning MiniLM, {options.frozen} layers frozen": partial(
            ours_with, frozen=options.frozen
        ),
    }
    theirs: dict[str, Callable[[], tuple[float, float]]] = {
        "HF Trainer": trainer_with,
        "HF Trainer, grouped by length": partial(trainer_with, **grouped),
    }
    if multiplies_bf16():
        mine["fine-tuning MiniLM, bf16"] = partial(ours_with, precision="bf16")
        theirs["HF Trainer, grouped by length, bf16"] = partial(trainer_with, **grouped, bf16=True)
    found: dict[str, list[float]] = {name: [] for name in mine | theirs}
    for _ in range(options.rounds):
        for name, work in (mine | theirs).items():
            seconds, accuracy = work()
            found[name].append(len(train.tokens) / seconds)
            print(
                f"{name:36} {found[name][-1]:6.1f} samples/s, accuracy {accuracy:.4f}", flush=True
            )
    unit = f"samples per CPU s, one thread, {len(train.tokens)} sentences"
    return [
        compare(f"{own}, {peer}", found[own], found[peer], peer, unit)
        for own in mine
        for peer in theirs
    ]


def few(tables: Tables, weights: Path, split: str, count: int | None = None) -> Examples:
    """The first examples of a split, or all."""
    model = EncoderHead(read_bert(weights), len(LABELS))
    every = Examples.of(tables, split, EncoderClassifier(model, tokenizer_of(weights), LABELS))
    return Examples(every.tokens[:count], every.targets[:count])


def tokenizer_of(weights: Path):
    return read_tokenizer(weights, CUT)


def ours(
    weights: Path,
    train: Examples,
    test: Examples,
    scratch: Path,
    frozen: int = 0,
    precision: str = "fp32",
) -> tuple[float, float]:
    """CPU seconds and accuracy of the pipeline's own training, its loop and its checkpoints."""
    changes = {"epochs": 1, "device": "cpu", "precision": precision}
    settings = load_settings("sentiment-bert").model_copy(update=changes)
    torch.manual_seed(0)
    model = trainable_bert(weights, len(LABELS), frozen)
    run = Run(settings, {}, weights, scratch / "ours", Checkpoint(scratch / "checkpoint"))
    groups = parameter_groups(model, settings)
    start = time.process_time()
    fit(
        run,
        model,
        lambda epoch: train.batches(settings.batch_size, (0, epoch)),
        cross_entropy,
        lambda _: 0.0,
        groups,
    )
    seconds = time.process_time() - start
    found = EncoderClassifier(model, tokenizer_of(weights), LABELS).predict(test.tokens)
    run.checkpoint.clear()
    return seconds, float((found.argmax(axis=1) == test.targets).mean())


def trainer(
    weights: Path, train: Examples, test: Examples, scratch: Path, **more: Any
) -> tuple[float, float]:
    """CPU seconds and accuracy of Hugging Face's Trainer on its own model."""
    settings = load_settings("sentiment-bert")
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification.from_pretrained(weights, num_labels=2)
    arguments = transformers.TrainingArguments(
        output_dir=str(scratch / "trainer"),
        use_cpu=True,
        num_train_epochs=1,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=settings.warmup,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        **more,
    )
    data = [
        {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": int(target)}
        for ids, target in zip(train.tokens, train.targets, strict=True)
    ]
    tokenizer = transformers.BertTokenizerFast(vocab=str(weights / "vocab.txt"))
    peer = transformers.Trainer(model, arguments, train_dataset=data, processing_class=tokenizer)
    start = time.process_time()
    peer.train()
    seconds = time.process_time() - start
    model.eval()
    with torch.inference_mode():
        found = [model(torch.tensor([ids])).logits.argmax().item() for ids in test.tokens]
    return seconds, float((np.array(found) == test.targets).mean())


# steps


def steps(weights: Path, tables: Tables, options: argparse.Namespace) -> None:
    """Samples per second of a plain loop, with one more of our choices in each line."""
    train = few(tables, weights, "train", options.sentences)
    size = load_settings("sentiment-bert").batch_size
    shuffled = np.random.default_rng(0).permutation(len(train.tokens))
    by_chance = [batch_of(train, shuffled[i : i + size]) for i in range(0, len(shuffled), size)]
    sorted_by = train.batches(size, (0, 0))
    padded = [widened(batch, CUT) for batch in by_chance[: max(1, len(by_chance) // 4)]]

    def theirs(frozen: bool = False) -> nn.Module:
        model = transformers.BertForSequenceClassification.from_pretrained(weights, num_labels=2)
        model.bert.embeddings.word_embeddings.weight.requires_grad_(not frozen)
        return Logits(model)

    def own(frozen: int = 0) -> nn.Module:
        return trainable_bert(weights, len(LABELS), frozen)

    def asked_by_each() -> nn.Module:
        model = own()
        assert isinstance(model, EncoderHead)
        last = model.encoder.layers[-1]

        def answer(x: Tensor, mask: Tensor) -> Tensor:  # (B, T, C), (B, T) -> (B, K)
            states = last(x, keys(mask))
            return model.head(model.dropout(mean_of_tokens(states, keys(mask))[:, 0]))

        model.answer = answer  # type: ignore[method-assign]
        return model

    def fused() -> nn.Module:
        model = own(options.frozen)
        for module in model.modules():
            if isinstance(module, MultiHeadAttention):
                module.dropout = 0.0
        return model

    table: list[tuple[str, Callable[[], nn.Module], list, dict[str, Any]]] = [
        (f"padding to {CUT}, AdamW one by one", theirs, padded, {"foreach": False}),
        ("padding to the batch's longest", theirs, by_chance, {"foreach": False}),
        ("AdamW fused", theirs, by_chance, {"fused": True}),
        ("texts of similar length together", theirs, sorted_by, {"fused": True}),
        ("word embeddings stay", lambda: theirs(frozen=True), sorted_by, {"fused": True}),
        ("our own encoder", asked_by_each, sorted_by, {"fused": True}),
        ("its last layer is asked once", own, sorted_by, {"fused": True}),
        (f"{options.frozen} layers stay", lambda: own(options.frozen), sorted_by, {"fused": True}),
        ("no dropout in attention: fused", fused, sorted_by, {"fused": True}),
    ]
    print("| what | samples/s | gain |\n|---|---|---|")
    before = None
    for name, make, batches, adamw in table:
        times = [loop(make(), batches, adamw) for _ in range(options.rounds)]
        speed = sum(len(batch["labels"]) for batch in batches) / min(times)
        gain = f"{speed / before:.2f}" if before else ""
        print(f"| {name} | {speed:.1f} | {gain} |", flush=True)
        before = speed


class Logits(nn.Module):
    """Hugging Face's classifier as a function of tokens and mask."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return self.model(tokens, attention_mask=mask).logits


def loop(model: nn.Module, batches: Sequence[dict[str, Tensor]], options: dict[str, Any]) -> float:
    """CPU seconds of one update a batch."""
    model.train()
    chosen = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(chosen, lr=1e-5, **options)
    start = time.process_time()
    for batch in batches:
        F.cross_entropy(model(batch["tokens"], batch["mask"]), batch["labels"]).backward()
        nn.utils.clip_grad_norm_(chosen, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return time.process_time() - start


def batch_of(examples: Examples, rows: np.ndarray) -> dict[str, Tensor]:
    labels = torch.from_numpy(examples.targets[rows])
    return collate([examples.tokens[i] for i in rows]) | {"labels": labels}


def widened(batch: dict[str, Tensor], length: int) -> dict[str, Tensor]:
    """The same batch with more padding."""
    more = length - batch["tokens"].shape[1]
    return {k: v if k == "labels" else F.pad(v, (0, more)) for k, v in batch.items()}


# answer


def answering(weights: Path, models: Path, tables: Tables, rounds: int) -> list[Row]:
    """Times of one text; then what the smaller models cost, on the test cases."""
    names = ("sentiment-bert", "sentiment-int8", "sentiment-student")
    teacher, rounded, student = (load_classifier(models / name) for name in names)
    eager = transformers.BertForSequenceClassification.from_pretrained(
        weights, num_labels=2, attn_implementation="eager"
    ).eval()
    words = np.random.default_rng(0).integers(5, eager.config.vocab_size, LENGTH - 2)
    ids = [2, *words.tolist(), 3]
    tokens = torch.tensor([ids])
    mask = torch.ones_like(tokens)

    def inference(model: nn.Module, *inputs: Tensor) -> Callable[[], object]:
        def call() -> object:
            with torch.inference_mode():
                return model(*inputs)

        return call

    said = f"one text of {LENGTH} tokens"
    slow = inference(eager, tokens, mask)
    rows = [
        measure(Pair(f"sentiment-int8, {said}", lambda: rounded.predict([ids]), slow,
                     "Hugging Face, eager fp32"), rounds),
        measure(Pair(f"sentiment-bert, {said}", inference(teacher.model, tokens, mask), slow,
                     "Hugging Face, eager fp32"), rounds),
        measure(Pair(f"sentiment-student, {said}", inference(student.model, tokens, mask),
                     inference(teacher.model, tokens, mask), "sentiment-bert"), rounds),
    ]  # fmt: skip
    cases = tables["cases"].merge(tables["sentences"], on="case")
    test = cases[cases["split"] == "test"]
    target = test["target"].map(LABELS.index).to_numpy()
    answers = {n: c.probabilities(test["text"].tolist()).argmax(axis=1)
               for n, c in zip(names, (teacher, rounded, student), strict=True)}  # fmt: skip
    right = {name: float((found == target).mean()) for name, found in answers.items()}
    for name in names:
        size = sum(path.stat().st_size for path in (models / name).iterdir()) / 2**20
        same = (answers[name] == answers["sentiment-bert"]).mean()
        kept = right[name] / right["sentiment-bert"]
        print(f"{name:18} test {right[name]:.4f} ({kept:.1%} kept), {same:.1%} of the answers the "
              f"same, {size:.1f} MiB", flush=True)  # fmt: skip
    return rows


# --short


def toys(folder: Path) -> tuple[Path, Path, Tables]:
    """Random weights of a tiny BERT, the three candidates trained on them, and a few reviews."""

    source = Source(**read_params()["tasks"]["sentiment"]["source"])
    tables = TASK.ingest(source.model_copy(update={"kind": "embedded", "size": 80, "name": ""}))
    config = transformers.BertConfig(
        vocab_size=400, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32,
    )  # fmt: skip
    weights = folder / "weights"
    weights.mkdir()
    model = transformers.BertModel(config)
    save_file(model.state_dict(), weights / "model.safetensors", metadata={"format": "pt"})
    (weights / "config.json").write_text(json.dumps(config.to_dict()))
    words = sorted(
        {word for text in tables["sentences"]["text"].str.lower() for word in text.split()}
    )
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    (weights / "vocab.txt").write_text("\n".join([*marks, *words][:400]) + "\n")
    changes = {"bert": {"epochs": 1}, "int8": {},
               "student": {"epochs": 1, "layers": 1, "hidden": 16, "copies": 0}}  # fmt: skip
    parent = weights
    for kind, changed in changes.items():
        settings = load_settings(f"sentiment-{kind}").model_copy(
            update={**changed, "device": "cpu"}
        )
        target = folder / f"sentiment-{kind}"
        run = Run(settings, without_test(tables), parent, target, Checkpoint(folder / "checkpoint"))
        TASK.train(run)
        run.checkpoint.clear()
        parent = folder / "sentiment-bert"
    return weights, folder, tables


if __name__ == "__main__":
    main()
