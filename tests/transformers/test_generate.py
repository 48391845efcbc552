"""Writing on: PyTorch and NumPy, many texts and one, Hugging Face as the oracle."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hour9.transformers.generate import Sampling, TorchReader, draw, generate
from hour9.transformers.generate_numpy import NumpyReader, readable
from hour9.transformers.layers import LayerShape, Transformer, TransformerShape
from hour9.transformers.load_weights import gpt2

LAYER = LayerShape(channels=16, heads=2, hidden=24, activation="gelu_tanh")
LEARNED = TransformerShape(words=20, context=24, layers=3, layer=LAYER, causal=True)
ROTARY = replace(LEARNED, layer=replace(LAYER, rotary=True), positions="rotary")
SINUSOIDAL = replace(LEARNED, positions="sinusoidal")
PROMPTS = [[3, 1, 4], [1], [5, 9, 2, 6, 5, 3, 5], [8, 9]]


def shaken(shape: TransformerShape) -> Transformer:
    """Weights large enough that tokens are told apart."""
    torch.manual_seed(0)
    model = Transformer(shape).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model


@pytest.fixture(scope="module")
def model():
    return shaken(ROTARY)


@pytest.mark.parametrize("shape", [LEARNED, ROTARY, SINUSOIDAL])
def test_numpy_reads_what_pytorch_reads(shape):
    model = shaken(shape)
    ours, theirs = NumpyReader(model), TorchReader(model)
    for tokens in ([[3, 1, 4, 1, 5]], [[9]], [[2, 6]], [[5]]):
        expected = theirs.read(np.array(tokens))
        np.testing.assert_allclose(ours.read(np.array(tokens)), expected, rtol=1e-4, atol=1e-5)


def test_what_numpy_does_not_know_it_does_not_read():
    assert readable(LEARNED)
    assert not readable(replace(LEARNED, segments=2))
    assert not readable(replace(LEARNED, causal=False))
    assert not readable(replace(LEARNED, layer=replace(LAYER, norm_first=False)))
    assert not readable(replace(LEARNED, layer=replace(LAYER, activation="gelu")))


@pytest.mark.parametrize("seed", range(3))
def test_greedy_tokens_are_those_of_hugging_face(seed):
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=50, n_embd=16, n_layer=3, n_head=2, n_positions=40, eos_token_id=0
    )
    theirs = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    expected = theirs.generate(
        torch.tensor([[3, 1, 4]]),
        attention_mask=torch.ones(1, 3, dtype=torch.long),
        max_new_tokens=30,
        do_sample=False,
        pad_token_id=0,
    )[0, 3:].tolist()
    ours = gpt2(config.to_dict(), theirs.state_dict()).eval()
    stop = Sampling(tokens=30, stop=frozenset([0]))
    found = [generate(ours, [[3, 1, 4]], [stop])[0], generate(ours, [[3, 1, 4]] * 2, [stop] * 2)[1]]
    assert found == [[token for token in expected if token != 0]] * 2


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_texts_written_together_are_those_written_alone(model, temperature):
    ways = [
        Sampling(tokens=5 + i, temperature=temperature, stop=frozenset([7]), seed=i)
        for i in range(4)
    ]
    alone = [generate(model, [prompt], [way])[0] for prompt, way in zip(PROMPTS, ways, strict=True)]
    assert generate(model, PROMPTS, ways) == alone
    assert len({len(text) for text in alone}) > 1  # they ended at different times


def test_a_stop_token_ends_the_text_and_is_no_part_of_it(model):
    (free,) = generate(model, [[3]], [Sampling(tokens=10)])
    (stopped,) = generate(model, [[3]], [Sampling(tokens=10, stop=frozenset(free[4:5]))])
    assert stopped == free[: free.index(free[4])]


def test_writing_ends_where_the_model_can_read_no_further(model):
    (text,) = generate(model, [[3, 1]], [Sampling(tokens=100)])
    assert len(text) == model.shape.context - 2


@pytest.mark.parametrize(("prompt", "length"), [([], 0), ([1] * 24, 24)])
def test_a_prompt_that_is_empty_or_too_long_is_refused(model, prompt, length):
    with pytest.raises(ValueError, match=f"1 to 23 tokens, .* got {length} in row 1"):
        generate(model, [[1], prompt], [Sampling()] * 2)


@pytest.mark.parametrize("token", [-1, 20])
@pytest.mark.parametrize("texts", [1, 2])
def test_a_token_that_the_model_does_not_have_is_refused(model, token, texts):
    with pytest.raises(ValueError, match=f"tokens are 0 to 19, got {token} in row {texts - 1}"):
        generate(model, [[1]] * (texts - 1) + [[3, token]], [Sampling()] * texts)


def test_a_prompt_without_a_sampling_is_refused(model):
    with pytest.raises(ValueError, match="got 2 prompts, 1 samplings"):
        generate(model, [[1], [2]], [Sampling()])


def test_no_prompts_have_no_continuations(model):
    assert generate(model, [], []) == []


# How a token is drawn


LOGITS = np.log(np.array([0.1, 0.4, 0.2, 0.3]))


def shares(**settings: float) -> np.ndarray:
    """How often each token is drawn of 4,000."""
    chance = np.random.default_rng(0)
    way = Sampling(**{"temperature": 1.0, **settings})  # type: ignore[arg-type]
    return np.bincount([draw(LOGITS, way, chance) for _ in range(4000)], minlength=4) / 4000


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [0.1, 0.4, 0.2, 0.3]),  # the softmax itself
        ({"temperature": 0.5}, [1 / 30, 16 / 30, 4 / 30, 9 / 30]),  # squares, made to sum to 1
        ({"top_k": 2}, [0, 4 / 7, 0, 3 / 7]),  # the two likeliest
        ({"top_p": 0.65}, [0, 4 / 7, 0, 3 / 7]),  # 0.4 is less than 0.65, 0.4 + 0.3 is not
        ({"top_p": 0.75}, [0, 4 / 9, 2 / 9, 3 / 9]),  # 0.7 is less than 0.75
        ({"top_k": 3, "top_p": 0.75}, [0, 4 / 7, 0, 3 / 7]),  # 7/9 of the three likeliest
        ({"temperature": 0.0}, [0, 1, 0, 0]),  # the likeliest
        ({"top_p": 1e-9}, [0, 1, 0, 0]),  # never fewer than one
        ({"temperature": 1e-310}, [0, 1, 0, 0]),  # any logit divided by it is infinite
        ({"temperature": 1e-310, "top_k": 1}, [0, 1, 0, 0]),
    ],
)
def test_tokens_are_drawn_as_often_as_their_share_says(settings, expected):
    np.testing.assert_allclose(shares(**settings), expected, atol=0.03)


@pytest.mark.parametrize(
    "wrong",
    [
        {"top_p": 0.0},
        {"temperature": -1.0},
        {"temperature": np.nan},
        {"temperature": np.inf},
        {"tokens": 0},
    ],
)
def test_sampling_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match="tokens must be at least 1"):
        Sampling(**wrong)
