"""Fine-tuning: what starts is Hugging Face's BERT, and each layer learns at its own speed."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import BertWordPieceTokenizer

from hour9.transformers.batches import MARKS, encode
from hour9.transformers.bert import fine_tune, parameter_groups, read_bert, rejoined, trainable_bert
from hour9.transformers.classifier import EncoderHead, load_classifier

TEXT = "Although the acting felt superb, I found the film very tedious."


@pytest.fixture(scope="module")
def classifier(model_folder):
    return load_classifier(model_folder)


def test_a_fresh_classifier_asks_bert_s_last_layer_once(tiny_bert, classifier):
    from transformers import BertConfig, BertModel

    config = BertConfig.from_dict(json.loads((tiny_bert / "config.json").read_text()))
    oracle = BertModel(config).eval()
    oracle.load_state_dict(load_file(tiny_bert / "model.safetensors"))
    model = EncoderHead(read_bert(tiny_bert), 2).eval()
    tokens = torch.tensor(encode(classifier.tokenizer, [TEXT]))
    below = oracle(tokens, output_hidden_states=True).hidden_states[-2]  # (1, T, C)
    summary = model.encoder.layers[-1].ask_once(below)[0]  # (C,)
    expected = model.head.weight @ summary + model.head.bias
    torch.testing.assert_close(model(tokens, torch.ones_like(tokens))[0], expected)


@pytest.mark.parametrize("kind", ["BertForSequenceClassification", "BertForMaskedLM"])
def test_weights_of_a_bert_with_any_head_are_loaded(tiny_bert, tmp_path, kind):
    import transformers

    config = json.loads((tiny_bert / "config.json").read_text())
    theirs = getattr(transformers, kind)(transformers.BertConfig.from_dict(config))
    own = {name: weight.clone() for name, weight in theirs.state_dict().items()}
    save_file(own, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    words = theirs.bert.embeddings.word_embeddings.weight
    assert torch.equal(read_bert(tmp_path).words.weight, words)


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds no BERT: .*config.json.*; set the candidate's"):
        read_bert(tmp_path)


def test_weights_of_another_architecture_are_refused(tiny_bert, tmp_path):
    save_file({"wte.weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((tiny_bert / "config.json").read_bytes())
    with pytest.raises(ValueError, match=r"holds no BERT: .*; set the candidate's parent"):
        read_bert(tmp_path)


def test_each_layer_learns_slower_than_the_one_above(classifier, settings):
    model = classifier.model
    groups = parameter_groups(model, settings)
    speed = {id(p): group["lr"] for group in groups for p in group["params"]}
    encoder, eta = model.encoder, settings.learning_rate
    parts = (model.head, encoder.layers[1], encoder.layers[0], encoder.positions)
    for below, part in enumerate(parts):
        assert {speed[id(p)] for p in part.parameters()} == {eta * 0.8**below}


def test_only_matrices_are_decayed(classifier, settings):
    for group in parameter_groups(
        classifier.model, settings.model_copy(update={"weight_decay": 0.1})
    ):
        expected = 0.1 if group["params"][0].dim() > 1 else 0.0
        assert group["weight_decay"] == expected


def test_the_word_embeddings_stay_as_they_were_and_the_rest_moves(tiny_bert, classifier):
    before, after = read_bert(tiny_bert).state_dict(), classifier.model.encoder.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == before.keys() - {"words.weight"}


def test_frozen_layers_and_what_is_below_them_stay_and_the_rest_moves(
    make_run, tiny_bert, tmp_path
):
    run = make_run(tmp_path)
    run.settings = run.settings.model_copy(update={"frozen": 1, "epochs": 1})
    fine_tune(run, ["negative", "positive"])
    before = read_bert(tiny_bert).state_dict()
    after = load_classifier(run.folder).model.encoder.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if name.startswith("layers.1.")}


def test_what_does_not_learn_drops_nothing(tiny_bert):
    model = trainable_bert(tiny_bert, 2, frozen=1).train()
    tokens = torch.tensor([[2, 9, 11, 3]])
    embedded = [model.encoder.embed(tokens, None, 0) for _ in range(2)]
    below, above = ([layer(embedded[0]) for _ in range(2)] for layer in model.encoder.layers)
    assert torch.equal(*embedded)
    assert torch.equal(*below)
    assert not torch.equal(*above)


def test_more_frozen_layers_than_there_are_is_refused(tiny_bert):
    with pytest.raises(ValueError, match="frozen must be at most 2, the layers; got 3"):
        trainable_bert(tiny_bert, 2, frozen=3)


@pytest.mark.parametrize(
    ("told", "plain"),
    [
        ("It wo n't bore , I DO N'T think", "it won't bore , I don't think"),
        ("a film -LRB- or lrb two rrb -RRB-", "a film ( or ( two ) )"),
        ("lrby isn't an n'th 's", "lrby isn't an n'th 's"),
    ],
)
def test_what_the_treebank_took_apart_is_read_as_people_write_it(told, plain):
    pieces = sorted({*"abcdefghijklmnopqrstuvwxyz'(),"})
    words = {w: i for i, w in enumerate([*MARKS, *pieces, *(f"##{p}" for p in pieces)])}
    usual, other = (BertWordPieceTokenizer(words, lowercase=True)._tokenizer for _ in range(2))
    assert rejoined(other).encode(told).tokens == usual.encode(plain).tokens


def test_weights_in_half_precision_are_fine_tuned_in_single(tiny_bert, tmp_path):
    halves = {k: v.half() for k, v in load_file(tiny_bert / "model.safetensors").items()}
    for name in ("config.json", "vocab.txt"):
        (tmp_path / name).write_bytes((tiny_bert / name).read_bytes())
    save_file(halves, tmp_path / "model.safetensors")
    assert {p.dtype for p in trainable_bert(tmp_path, 2).parameters()} == {torch.float32}


def test_more_tokens_than_the_bert_reads_are_refused_before_it_learns(make_run, tmp_path):
    run = make_run(tmp_path)
    run.settings = run.settings.model_copy(update={"max_tokens": 65})
    with pytest.raises(
        ValueError, match=r"max_tokens must be at most 64, what the BERT in .* reads"
    ):
        fine_tune(run, ["negative", "positive"])


def test_a_tokenizer_without_a_normalizer_gets_one():
    plain = BertWordPieceTokenizer(vocab={mark: i for i, mark in enumerate(MARKS)})._tokenizer
    plain.normalizer = None
    assert rejoined(plain).normalizer.normalize_str("I wo n't -LRB-") == "I won't ("


def test_a_bert_drops_what_bert_dropped(tiny_bert):
    """A tenth of the features and of the attention (Devlin et al. 2019, appendix A.2)."""
    layer = trainable_bert(tiny_bert, 2).encoder.shape.layer
    assert (layer.dropout, layer.attention_dropout) == (0.1, 0.1)


def test_a_fine_tuned_model_reads_what_the_treebank_took_apart(classifier):
    taken_apart, written = encode(classifier.tokenizer, ["It wo n't bore", "It won't bore"])
    assert taken_apart == written


def test_the_step_sizes_of_the_layers_reach_the_training(make_run, model_folder, tmp_path):
    run = make_run(tmp_path)
    run.settings = run.settings.model_copy(update={"layer_decay": 1.0})
    fine_tune(run, ["negative", "positive"])
    alike, falling = (load_file(f / "model.safetensors") for f in (run.folder, model_folder))
    assert not torch.equal(alike["encoder.positions.weight"], falling["encoder.positions.weight"])
