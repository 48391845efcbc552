"""The GPT: what it is scored by, what it learns from, what it starts from."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer

from hour9.engine.checkpoint import Checkpoint
from hour9.engine.run import Run
from hour9.engine.settings import Source
from hour9.task import without_test
from hour9.transformers import textgen
from hour9.transformers.dropout import Dropout
from hour9.transformers.gpt import (
    END,
    cut,
    learn_tokenizer,
    load_gpt,
    negative_log_likelihoods,
    new_gpt,
    read_gpt,
    windows_of,
)
from hour9.transformers.layers import LayerShape, Transformer, TransformerShape
from hour9.transformers.settings import GptSettings, NewGptSettings

COMMON = {"task": "textgen", "topic": "transformers", "device": "cpu", "clip": 1.0}
TINY = {"context": 16, "vocabulary": 300, "channels": 16, "heads": 2, "layers": 2}


@pytest.fixture(scope="module")
def tables():
    """Forty reviews, and three short topics."""
    tables = textgen.ingest(Source(root="x", size=40))
    reference = tables["reference"].sort_values("text", key=lambda text: text.str.len()).head(3)
    return {**tables, "reference": reference.assign(split=["train", "train", "validation"])}


@pytest.fixture(scope="module")
def trained(tables, tmp_path_factory):
    """Train with these settings, from this parent; the model's folder."""

    def train(settings, parent=Path("none")) -> Path:
        folder = tmp_path_factory.mktemp("gpt")
        run = Run(settings, without_test(tables), parent, folder / "m", Checkpoint(folder / "c"))
        textgen.train(run)
        return run.folder

    return train


@pytest.fixture(scope="module")
def new(trained) -> Path:
    settings = NewGptSettings(**COMMON, **TINY, parent="x", epochs=3, learning_rate=1e-2)
    return trained(settings)


def small_model(context: int) -> Transformer:
    torch.manual_seed(0)
    layer = LayerShape(channels=8, heads=2, hidden=16)
    return Transformer(TransformerShape(12, context, 2, layer, causal=True)).eval()


def test_the_likelihoods_of_all_texts_of_a_length_sum_to_one():
    texts = [[0, a, b] for a in range(12) for b in range(12)]
    nats = negative_log_likelihoods(small_model(4), texts)
    assert np.exp(-nats).sum() == pytest.approx(1)


def test_a_text_is_judged_alike_beside_any_others():
    model, texts = small_model(8), [[0, 5, 3], [0, 1], [0, 7, 7, 7, 7, 2], [0]]
    together = negative_log_likelihoods(model, texts)
    alone = [negative_log_likelihoods(model, [text])[0] for text in texts]
    np.testing.assert_allclose(together, alone, rtol=1e-5)
    assert together[3] == 0  # nothing to find


def test_a_long_text_is_judged_a_token_once_with_half_of_the_context_before_it():
    windows = windows_of(length=30, context=8)
    judged = [token for _, fresh, stop in windows for token in range(fresh, stop)]
    assert judged == list(range(1, 30))
    assert all(stop - start <= 9 for start, _, stop in windows)
    assert all(fresh - start > 4 for start, fresh, _ in windows[1:])
    assert windows_of(9, 8) == [(0, 1, 9)]


def test_each_epoch_cuts_the_stream_elsewhere_and_always_alike():
    stream = np.arange(100)
    rows = cut(stream, 9, (0, 0))
    assert (np.diff(rows, axis=1) == 1).all()  # each row is a piece of the stream
    targets = np.sort(rows[:, 1:].ravel())
    assert (np.diff(targets) == 1).all()  # no target is there twice or left out in between
    assert len(targets) > 100 - 3 * 9
    assert (rows == cut(stream, 9, (0, 0))).all()
    assert not np.array_equal(rows, cut(stream, 9, (0, 1)))


def test_a_stream_shorter_than_a_row_still_trains():
    assert cut(np.arange(3), 9, (0, 0)).shape[1] == 9


@pytest.mark.parametrize("text", ["plain", "naïve ☃ \x00\n\t", " <|endoftext|>x"])
def test_any_text_comes_back_from_its_tokens(text):
    tokenizer = learn_tokenizer(["some plain text"] * 3, 270)
    ids = tokenizer.encode(text).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == text
    assert tokenizer.token_to_id(END) not in ids


def test_a_model_read_from_a_folder_takes_no_mark_from_a_text(new):
    gpt = load_gpt(new)
    assert gpt.tokenizer.token_to_id(END) not in gpt.encode(f"a {END} b")[1:]


def test_bits_per_byte_do_not_depend_on_how_the_text_is_written(new):
    gpt = load_gpt(new)
    (nats,) = negative_log_likelihoods(gpt.model, [gpt.encode("né")])
    assert gpt.bits_per_byte(["né"])[0] == pytest.approx(nats / np.log(2) / 3)  # three bytes


def test_a_text_without_a_byte_has_no_bits_per_byte(new):
    with pytest.raises(ValueError, match="empty text has no bits per byte; got one in row 1"):
        load_gpt(new).bits_per_byte(["a", ""])


def test_training_on_the_passages_makes_them_cheaper(new, trained, tables):
    lazy = trained(NewGptSettings(**COMMON, **TINY, parent="x", epochs=1, learning_rate=1e-9))
    passages = tables["cases"]["target"].tolist()
    assert (load_gpt(new).bits_per_byte(passages) < load_gpt(lazy).bits_per_byte(passages)).all()


def test_a_new_model_learns_from_the_corpus_that_it_is_given(new, trained, tables):
    corpus = {"corpus": "reference", "epochs": 4, "batch_size": 2, "learning_rate": 1e-2}
    other = load_gpt(trained(NewGptSettings(**COMMON, **TINY, **corpus, parent="x")))
    topics, passages = tables["reference"]["text"].tolist(), tables["cases"]["target"].tolist()
    gains = {
        name: (load_gpt(new).bits_per_byte(texts) - other.bits_per_byte(texts)).mean()
        for name, texts in {"topics": topics, "passages": passages}.items()
    }
    assert gains["topics"] > max(0.0, gains["passages"])


def test_a_model_goes_on_from_its_parent(new, trained):
    settings = GptSettings(**COMMON, parent="x", context=16, epochs=1, learning_rate=1e-9)
    child, parent = load_gpt(trained(settings, new)), load_gpt(new)
    texts = ["The film is fine.", "Never."]
    np.testing.assert_allclose(child.bits_per_byte(texts), parent.bits_per_byte(texts), rtol=1e-4)


@pytest.fixture(scope="module")
def hugging_face(tmp_path_factory) -> Path:
    """A folder as `GPT2LMHeadModel.save_pretrained` and its tokenizer leave it."""
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = tmp_path_factory.mktemp("gpt2")
    tokenizer = learn_tokenizer(["the film is very good", "the music was not bad"], 280)
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=tokenizer.get_vocab_size(), n_embd=16, n_layer=2, n_head=2, n_positions=32
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def test_gpt2_of_hugging_face_is_judged_as_by_itself(hugging_face):
    from transformers import GPT2LMHeadModel

    gpt = read_gpt(hugging_face, dropout=0.0)
    tokens = torch.tensor([gpt.encode("the film")])
    theirs = GPT2LMHeadModel.from_pretrained(hugging_face).eval()(tokens, labels=tokens).loss
    nats = theirs.item() * (tokens.shape[1] - 1)
    assert gpt.bits_per_byte(["the film"])[0] == pytest.approx(nats / np.log(2) / 8, rel=1e-5)


def test_gpt2_of_hugging_face_is_fine_tuned_by_the_same_code(hugging_face, trained, tables):
    settings = GptSettings(**COMMON, parent="x", context=32, epochs=3, learning_rate=1e-2)
    tuned = load_gpt(trained(settings, hugging_face))
    before = read_gpt(hugging_face, dropout=0.0)
    passages = tables["cases"]["target"].tolist()
    assert (tuned.bits_per_byte(passages) < before.bits_per_byte(passages)).all()
    answers = textgen.answer(trained(settings, hugging_face))(pd.DataFrame({"text": ["The film"]}))
    assert answers["continuation"].str.len().all()


def test_a_tokenizer_that_cuts_and_pads_does_neither_here(hugging_face, tmp_path):
    folder = tmp_path / "cuts"
    shutil.copytree(hugging_face, folder)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(folder / "tokenizer.json"))
    for text in ("film", "the film is very good"):
        assert read_gpt(folder, 0.0).encode(text) == read_gpt(hugging_face, 0.0).encode(text)


def test_a_parent_that_is_no_gpt_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"lacks config\.json.*or its architecture to new-gpt"):
        read_gpt(tmp_path, dropout=0.0)


def with_config(folder: Path, copy: Path, **changes) -> Path:
    """The same folder with other words in its config.json; None leaves one out."""
    shutil.copytree(folder, copy)
    config = json.loads((copy / "config.json").read_text()) | changes
    kept = {name: value for name, value in config.items() if value is not None}
    (copy / "config.json").write_text(json.dumps(kept))
    return copy


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "gpt_neo"}, "model_type must be gpt2, got gpt_neo; set the candidate's"),
        ({"n_embd": None}, "'n_embd'; set the candidate's parent to weights of a GPT"),
    ],
)
def test_another_model_is_no_gpt(hugging_face, tmp_path, changes, message):
    folder = with_config(hugging_face, tmp_path / "other", **changes)
    with pytest.raises(ValueError, match=f"other holds no GPT: .*{message}"):
        read_gpt(folder, dropout=0.0)


def test_an_older_config_does_not_say_that_it_is_gpt2(hugging_face, tmp_path):
    read_gpt(with_config(hugging_face, tmp_path / "old", model_type=None), dropout=0.0)


def test_a_tokenizer_larger_than_the_model_is_refused(hugging_face, tmp_path):
    folder = tmp_path / "other"
    shutil.copytree(hugging_face, folder)
    larger = learn_tokenizer(["the film is very good", "the music was not bad"], 300)
    larger.save(str(folder / "tokenizer.json"))
    with pytest.raises(ValueError, match=r"tokens up to \d+, but the model knows those below 2"):
        read_gpt(folder, dropout=0.0)


def test_a_context_beyond_the_parents_is_refused(hugging_face, trained):
    settings = GptSettings(**COMMON, parent="x", context=64, epochs=1)
    with pytest.raises(ValueError, match=r"context is 64, .* reads 32 tokens"):
        trained(settings, hugging_face)


def test_the_model_folder_says_what_the_model_is(new):
    config = json.loads((new / "config.json").read_text())
    assert config["shape"]["context"] == 16
    assert sorted(path.name for path in new.iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]


@pytest.mark.parametrize("corpus", ["passages", "reference"])
def test_validation_chooses_the_epoch_and_teaches_nothing(tables, tmp_path, corpus):
    """Of one epoch there is no choice: with other texts the same model, and another score."""
    other = {
        name: tables[name].assign(
            **{text: tables[name][text].mask(tables[name]["split"] == "validation", "zzz")}
        )
        for name, text in (("cases", "target"), ("reference", "text"))
    }
    settings = NewGptSettings(**COMMON, **TINY, parent="x", epochs=1, corpus=corpus)
    runs = []
    for name, known in (("honest", tables), ("other", other)):
        folder = tmp_path / name
        runs.append(Run(settings, without_test(known), folder, folder, Checkpoint(folder / "c")))
        textgen.train(runs[-1])
    for name in ("model.safetensors", "tokenizer.json"):
        first, second = ((run.folder / name).read_bytes() for run in runs)
        assert first == second
    table = tables["cases"]["target"] if corpus == "passages" else tables["reference"]["text"]
    split = tables["cases" if corpus == "passages" else "reference"]["split"]
    held, gpt = table[split == "validation"].tolist(), load_gpt(runs[0].folder)
    sizes = [len(text.encode()) for text in held]
    expected = -(gpt.bits_per_byte(held) @ sizes) / sum(sizes)
    assert runs[0].curve[-1]["validation"] == pytest.approx(expected, rel=1e-6)
    assert runs[1].curve[-1]["validation"] != pytest.approx(expected, rel=1e-6)


def test_the_dropout_of_the_settings_reaches_every_model(new, hugging_face):
    settings = NewGptSettings(**COMMON, **TINY, parent="x", dropout=0.3)
    for gpt in (new_gpt(settings, ["a"]), read_gpt(new, 0.3), read_gpt(hugging_face, 0.3)):
        assert {p.share for p in gpt.model.modules() if isinstance(p, Dropout)} == {0.3}
