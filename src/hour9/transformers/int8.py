"""A trained classifier in whole numbers of eight bits, run by ONNX Runtime.

Weights are rounded once; activations while it answers, with a scale for each input (post-training
dynamic quantisation). One text is read at a time: a scale spans the whole input, so a neighbour in
a batch would change the answer.

Shapes: N texts, T tokens, K classes.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hour9.engine.randomness import seed_all
from hour9.engine.run import Run
from hour9.transformers.batches import encode, read_tokenizer
from hour9.transformers.classifier import EncoderClassifier, Examples
from hour9.transformers.onnx_graph import PROBABILITIES, TOKENS, as_onnx

MODEL = "model.onnx"


def quantise(run: Run, labels: Sequence[str]) -> None:
    """Round the classifier in `run.parent`; write a folder that answers without it."""
    from onnx import helper
    from onnxruntime.quantization import QuantType, quantize_dynamic

    seed_all(run.settings.seed)
    parent = EncoderClassifier.parent(run.parent)
    cut = parent.tokenizer.truncation or {"max_length": parent.model.encoder.shape.context}
    graph = as_onnx(parent.model, cut["max_length"])
    helper.set_model_props(graph, {"onnx.quant.pre_process": "onnxruntime.quant"})  # it is fused
    run.folder.mkdir(parents=True, exist_ok=True)
    quantize_dynamic(
        graph,
        run.folder / MODEL,
        per_channel=True,  # a scale for each output; one for the whole matrix loses answers
        reduce_range=True,  # seven bits: without VNNI, sums of eight-bit products overflow
        weight_type=QuantType.QInt8,
        extra_options={"DefaultTensorType": 1},  # float: the fused operations declare no types
    )
    config = {"settings": run.settings.model_dump(), "labels": list(labels)}
    (run.folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    parent.tokenizer.save(str(run.folder / "tokenizer.json"))
    held = Examples.of(run.tables, "validation", parent)
    exact = parent.predict(held.tokens).argmax(axis=1)
    rounded = Int8Classifier(run.folder).predict(held.tokens).argmax(axis=1)
    run.log(
        0,
        validation=float((rounded == held.targets).mean()),
        parent=float((exact == held.targets).mean()),
        agreement=float((rounded == exact).mean()),
    )


class Int8Classifier:
    """What `quantise` wrote, ready to answer. It has no gradients, so it explains nothing."""

    def __init__(self, folder: Path):
        import onnxruntime

        config = json.loads((folder / "config.json").read_text())
        self.labels = tuple(config["labels"])
        self.tokenizer = read_tokenizer(folder)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = config["settings"]["threads"]
        self.session = onnxruntime.InferenceSession(
            folder / MODEL, options, providers=["CPUExecutionProvider"]
        )

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:  # -> (N, K)
        """A row for each text."""
        return self.predict(encode(self.tokenizer, texts))

    def predict(self, tokens: Sequence[Sequence[int]]) -> np.ndarray:  # -> (N, K)
        """Class probabilities of each text."""
        rows = [np.zeros((0, len(self.labels)), dtype=np.float32)]
        for ids in tokens:
            rows += self.session.run([PROBABILITIES], {TOKENS: np.array([ids])})
        return np.concatenate(rows)
