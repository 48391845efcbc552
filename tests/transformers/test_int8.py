"""Eight bits: the graph is the model, rounding it changes little, and the bytes repeat."""

import numpy as np
import pytest
import torch

from hour9.engine.checkpoint import Checkpoint
from hour9.engine.run import Run
from hour9.params import Refused
from hour9.task import without_test
from hour9.transformers import sentiment
from hour9.transformers.bert import read_bert
from hour9.transformers.classifier import (
    EncoderClassifier,
    EncoderHead,
    Examples,
    load_classifier,
)
from hour9.transformers.int8 import Int8Classifier
from hour9.transformers.layers import LayerShape, Transformer, TransformerShape
from hour9.transformers.onnx_graph import as_onnx
from hour9.transformers.settings import Int8Settings

TEXTS = ["The plot is dull.", "Although the acting felt superb, I found the film very tedious."]


@pytest.fixture(scope="module")
def make_int8(tables, model_folder, tmp_path_factory):
    def make():
        folder = tmp_path_factory.mktemp("int8") / "model"
        settings = Int8Settings(task="sentiment", topic="transformers", parent="x")
        checkpoint = Checkpoint(folder.with_name("checkpoint"))
        sentiment.train(Run(settings, without_test(tables), model_folder, folder, checkpoint))
        return folder

    return make


@pytest.fixture(scope="module")
def int8_folder(make_int8):
    return make_int8()


@pytest.mark.parametrize("length", [1, 5, 32])
def test_the_graph_is_the_model(tiny_bert, length):
    import onnxruntime

    torch.manual_seed(0)
    model = EncoderHead(read_bert(tiny_bert), 2).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # biases that are not 0: a wrong place would show
            parameter += 0.1 * torch.randn_like(parameter)
    session = onnxruntime.InferenceSession(as_onnx(model, 32).SerializeToString())
    tokens = torch.randint(5, 100, (1, length))
    expected = model(tokens, torch.ones_like(tokens)).softmax(dim=1).detach()
    (found,) = session.run(None, {"tokens": tokens.numpy()})
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_an_encoder_of_another_kind_is_refused():
    shape = TransformerShape(10, 8, 1, LayerShape(8, 2, 16, norm_first=True), causal=False)
    with pytest.raises(ValueError, match="only an encoder like BERT's"):
        as_onnx(EncoderHead(Transformer(shape), 2), 8)


@pytest.mark.parametrize("what", ["eight bits", "published weights", "data"])
def test_a_parent_that_is_no_classifier_is_refused(what, int8_folder, tiny_bert, tmp_path):
    folder = {"eight bits": int8_folder, "published weights": tiny_bert, "data": tmp_path}[what]
    with pytest.raises(Refused, match=f"{folder} holds no classifier with an encoder; set the"):
        EncoderClassifier.parent(folder)


def test_eight_bits_answer_nearly_as_the_exact_model_does(int8_folder, model_folder, tables):
    texts = tables["sentences"]["text"].tolist()
    exact = load_classifier(model_folder).probabilities(texts)
    rounded = load_classifier(int8_folder).probabilities(texts)
    np.testing.assert_allclose(rounded, exact, atol=0.1)
    assert (rounded.argmax(axis=1) == exact.argmax(axis=1)).mean() >= 0.95
    assert not np.array_equal(rounded, exact)


def test_a_neighbour_changes_no_answer(int8_folder):
    classifier = load_classifier(int8_folder)
    together = classifier.probabilities(TEXTS)
    alone = np.concatenate([classifier.probabilities([text]) for text in TEXTS])
    np.testing.assert_array_equal(together, alone)


def test_rounding_twice_gives_the_same_bytes(int8_folder, make_int8):
    again = make_int8()
    names = sorted(path.name for path in int8_folder.iterdir())
    assert names == ["config.json", "model.onnx", "tokenizer.json"]
    for name in names:
        assert (again / name).read_bytes() == (int8_folder / name).read_bytes()


def test_the_weights_are_small(int8_folder, model_folder):
    """Four bytes become one; the tiny model's scales and normalisations stay as they are."""
    small = (int8_folder / "model.onnx").stat().st_size
    assert small < 0.5 * (model_folder / "model.safetensors").stat().st_size


def test_the_curve_says_how_often_each_is_right_on_validation_and_both_alike(
    tables, model_folder, tmp_path, monkeypatch
):
    parent, known = load_classifier(model_folder), without_test(tables)
    monkeypatch.setattr(  # whatever it says, this says the opposite
        Int8Classifier, "predict", lambda self, tokens: parent.predict(tokens)[:, ::-1]
    )
    settings = Int8Settings(task="sentiment", topic="transformers", parent="x")
    run = Run(settings, known, model_folder, tmp_path / "m", Checkpoint(tmp_path / "c"))
    sentiment.train(run)
    held = Examples.of(known, "validation", parent)
    right = (parent.predict(held.tokens).argmax(axis=1) == held.targets).mean()
    expected = {"step": 0, "validation": 1 - right, "parent": right, "agreement": 0}
    assert run.curve == [pytest.approx(expected)]
    assert right != 0.5


def test_each_output_of_a_matrix_has_a_scale_of_its_own(int8_folder):
    import onnx

    weights = onnx.load(int8_folder / "model.onnx").graph.initializer
    scales = [tuple(w.dims) for w in weights if w.name.endswith("_scale")]
    assert {(16,), (32,), (48,)} <= set(scales)  # channels, hidden features, queries to values
