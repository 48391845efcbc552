"""Fine-tuning: the classifier is Hugging Face's BERT, and a killed run ends with the same bytes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from hour9.transformers import sentiment
from hour9.transformers.bert import (
    BertClassifier,
    buckets,
    collate,
    encode,
    load_classifier,
    parameter_groups,
    predict,
    put_pretrained,
    read_tokenizer,
)

TEXTS = ["The plot is dull.", "Although the acting felt superb, I found the film very tedious."]


@pytest.fixture(scope="module")
def classifier(model_folder):
    return load_classifier(model_folder)


def test_logits_are_a_linear_map_of_the_mean_of_bert_s_last_states(classifier, model_folder):
    from transformers import BertConfig, BertModel

    weights = load_file(model_folder / "model.safetensors")
    oracle = BertModel(
        BertConfig.from_dict(classifier.model.bert.config.to_dict()), add_pooling_layer=False
    )
    oracle.load_state_dict(
        {k.removeprefix("bert."): v for k, v in weights.items() if k.startswith("bert.")}
    )
    (ids,) = encode(classifier.tokenizer, TEXTS[:1])
    hidden = oracle.eval()(torch.tensor([ids])).last_hidden_state[0]  # (T, C)
    logits = weights["head.weight"] @ hidden.mean(dim=0) + weights["head.bias"]
    expected = logits.softmax(dim=0).detach().numpy()
    np.testing.assert_allclose(classifier.probabilities(TEXTS[:1])[0], expected, rtol=1e-4)


def test_padding_changes_no_answer(classifier):
    together = classifier.probabilities(TEXTS)
    alone = np.concatenate([classifier.probabilities([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, rtol=1e-4)


def test_answers_stand_in_the_order_of_the_texts(classifier):
    np.testing.assert_allclose(
        classifier.probabilities(TEXTS[::-1]), classifier.probabilities(TEXTS)[::-1], rtol=1e-4
    )


def test_tokens_are_those_of_hugging_face(tiny_bert):
    from transformers import BertTokenizerFast

    theirs = BertTokenizerFast(vocab=str(tiny_bert / "vocab.txt"), do_lower_case=True)
    ours = read_tokenizer(tiny_bert, max_tokens=32)
    assert encode(ours, TEXTS) == theirs(TEXTS)["input_ids"]


def test_long_texts_are_cut(tiny_bert):
    (ids,) = encode(read_tokenizer(tiny_bert, max_tokens=8), TEXTS[1:])
    assert len(ids) == 8


def test_weights_under_old_names_are_loaded_too(tiny_bert, classifier, tmp_path):
    published = load_file(tiny_bert / "model.safetensors")
    old = {
        "bert."
        + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for name, tensor in published.items()
    }
    save_file(old, tmp_path / "model.safetensors")
    model = BertClassifier(classifier.model.bert.config.to_dict(), 2)
    put_pretrained(model.bert, tmp_path)
    for name, tensor in model.bert.state_dict().items():
        assert torch.equal(tensor, published[name])


def test_weights_of_another_architecture_are_refused(classifier, tmp_path):
    save_file({"wte.weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"is no BERT: it lacks \d+ tensors, e\.g\. embeddings"):
        put_pretrained(classifier.model.bert, tmp_path)


def test_every_text_is_in_one_batch_of_texts_about_as_long():
    lengths = np.random.default_rng(0).integers(1, 50, size=203)
    batches = buckets(lengths, 16, (0, 0))
    assert sorted(np.concatenate(batches)) == list(range(203))
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert padded < 1.1 * lengths.sum()


def test_batches_depend_on_seed_and_epoch_alone():
    lengths = [5, 5, 5, 7, 7, 9] * 10
    first, again, next_epoch, next_seed = (
        np.concatenate(buckets(lengths, 4, seed)).tolist()
        for seed in ((0, 0), (0, 0), (0, 1), (1, 0))
    )
    assert first == again
    assert first != next_epoch
    assert first != next_seed


def test_each_layer_learns_slower_than_the_one_above(classifier, settings):
    groups = parameter_groups(classifier.model, settings)
    speed = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert len(speed) == sum(p.requires_grad for p in classifier.model.parameters())
    bert, eta = classifier.model.bert, settings.learning_rate
    parts = (
        classifier.model.head,
        bert.encoder.layer[1],
        bert.encoder.layer[0],
        bert.embeddings.position_embeddings,
    )
    for below, part in enumerate(parts):
        assert {speed[id(p)] for p in part.parameters()} == {eta * 0.8**below}
    assert id(bert.embeddings.word_embeddings.weight) not in speed


def test_only_matrices_are_decayed(classifier, settings):
    for group in parameter_groups(
        classifier.model, settings.model_copy(update={"weight_decay": 0.1})
    ):
        expected = 0.1 if group["params"][0].dim() > 1 else 0.0
        assert group["weight_decay"] == expected


def test_the_word_embeddings_stay_as_they_were_and_the_rest_moves(tiny_bert, model_folder):
    before, after = (load_file(f / "model.safetensors") for f in (tiny_bert, model_folder))
    words = "embeddings.word_embeddings.weight"
    assert torch.equal(after[f"bert.{words}"], before[words])
    layer = "encoder.layer.0.attention.self.query.weight"
    assert not torch.equal(after[f"bert.{layer}"], before[layer])


class Killed(BaseException):
    pass


def test_a_killed_training_goes_on_and_ends_with_the_same_bytes(
    make_run, model_folder, tmp_path, capsys
):
    run = make_run(tmp_path)
    saves = []

    def die(points):
        saves.append(points)
        if len(saves) == 11:  # of eight batches an epoch: in the middle of the second
            raise Killed

    run.publish = die
    with pytest.raises(Killed):
        sentiment.train(run)
    assert not run.folder.exists()
    sentiment.train(make_run(tmp_path))
    assert "continues from its checkpoint" in capsys.readouterr().err
    for expected in sorted(model_folder.iterdir()):
        assert (run.folder / expected.name).read_bytes() == expected.read_bytes()


def test_a_model_folder_needs_nothing_else(model_folder):
    names = sorted(path.name for path in model_folder.iterdir())
    assert names == ["config.json", "model.safetensors", "tokenizer.json"]
    assert str(Path.cwd()) not in (model_folder / "config.json").read_text()


def test_it_learns_to_tell_two_words_apart(tiny_bert, classifier):
    torch.manual_seed(0)
    model = BertClassifier(classifier.model.bert.config.to_dict(), 2)
    put_pretrained(model.bert, tiny_bert)
    tokens = encode(read_tokenizer(tiny_bert, 16), ["the plot is dull", "the plot is superb"] * 8)
    batch = collate(tokens, np.array([0, 1] * 8))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(30):
        loss = torch.nn.functional.cross_entropy(
            model(batch["tokens"], batch["mask"]), batch["labels"]
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert predict(model, tokens).argmax(axis=1).tolist() == [0, 1] * 8
