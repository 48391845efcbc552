import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hour9.transformers import layers
from hour9.transformers.encoder_numpy import (
    EncoderLayer,
    LayerNorm,
    MultiHeadAttention,
    gelu_tanh,
    sinusoidal_positions,
)
from hour9.transformers.load_weights import TORCH_ENCODER, renamed

B, T, C, H, F = 2, 5, 8, 2, 12


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((B, T, C))


def unlike_at_first(layer: nn.Module) -> nn.Module:
    """Biases that are not 0 and gains that are not 1: what first values would hide."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return layer.double()


def arrays(tensors: dict[str, Tensor], names: dict[str, str]) -> dict[str, np.ndarray]:
    """Torch's tensors under the names of our layers."""
    return {name: tensor.detach().numpy() for name, tensor in renamed(tensors, names).items()}


def check_against(theirs: nn.Module, names: dict[str, str], ours: EncoderLayer, x) -> None:
    """The same output, and the same gradient by the input and by each parameter."""
    ours.load(arrays(dict(theirs.named_parameters()), names))
    inputs, gradient = torch.tensor(x, requires_grad=True), np.cos(x)
    expected = theirs.train()(inputs)
    np.testing.assert_allclose(ours.forward(x), expected.detach(), atol=1e-12)
    expected.backward(torch.tensor(gradient))
    np.testing.assert_allclose(ours.backward(gradient), inputs.grad, atol=1e-12)
    gradients = arrays({name: p.grad for name, p in theirs.named_parameters()}, names)
    assert ours.all_gradients().keys() == gradients.keys()
    for name, found in ours.all_gradients().items():
        np.testing.assert_allclose(found, gradients[name], atol=1e-12, err_msg=name)


@pytest.mark.parametrize("norm_first", [True, False])
def test_the_layer_and_its_gradients_are_those_of_torch(x, norm_first):
    theirs = nn.TransformerEncoderLayer(C, H, F, 0.0, batch_first=True, norm_first=norm_first)
    ours = EncoderLayer(C, H, F, norm_first, "relu")
    check_against(unlike_at_first(theirs), TORCH_ENCODER, ours, x)


@pytest.mark.parametrize("norm_first", [True, False])
def test_a_causal_layer_and_its_gradients_are_those_of_autograd(x, norm_first):
    theirs = layers.EncoderLayer(layers.LayerShape(C, H, F, norm_first, "gelu_tanh"), causal=True)
    ours = EncoderLayer(C, H, F, norm_first, "gelu_tanh", causal=True)
    check_against(unlike_at_first(theirs), {}, ours, x)


def test_multi_head_attention_equals_torch(x):
    theirs = unlike_at_first(nn.MultiheadAttention(C, H, batch_first=True))
    ours = MultiHeadAttention(C, H, causal=False, chance=np.random.default_rng(0))
    names = {"in_proj_": "query_key_value.", "out_proj.": "output."}
    ours.load(arrays(dict(theirs.named_parameters()), names))
    padding = np.array([[False] * T, [False] * 3 + [True] * 2])  # (B, T)
    expected, weights = theirs(
        *[torch.tensor(x)] * 3, torch.tensor(padding), average_attn_weights=False
    )
    found = ours.forward(x, ~padding[:, None, None, :])
    np.testing.assert_allclose(found, expected.detach(), atol=1e-12)
    np.testing.assert_allclose(ours.weights, weights.detach(), atol=1e-12)


def test_layer_norm_equals_torch(x):
    theirs = unlike_at_first(nn.LayerNorm(C, eps=0.1))
    ours = LayerNorm(C, epsilon=0.1)
    ours.load(arrays(dict(theirs.named_parameters()), {}))
    np.testing.assert_allclose(ours.forward(x), theirs(torch.tensor(x)).detach(), atol=1e-12)


def test_gelu_equals_torch(x):
    expected = nn.functional.gelu(torch.tensor(x), approximate="tanh")
    np.testing.assert_allclose(gelu_tanh(x), expected, atol=1e-12)


def test_a_layer_descends_its_own_gradient(x):
    layer = EncoderLayer(C, H, F)
    before = (layer.forward(x) ** 2).sum()
    layer.backward(2 * layer.forward(x))
    for prefix, part in layer.walk():
        for name, gradient in part.gradients.items():
            assert layer.all_gradients()[prefix + name] is gradient
            part.parameters[name] = part.parameters[name] - 1e-4 * gradient
    after = (layer.forward(x) ** 2).sum()
    step = 1e-4 * sum((g**2).sum() for g in layer.all_gradients().values())
    assert before - after == pytest.approx(step, rel=0.1)  # to first order


def test_a_later_position_shifts_the_phase_of_every_wave():
    waves = sinusoidal_positions(20, C).reshape(20, C // 2, 2)  # (T, C/2, sine and cosine)
    points = waves[..., 1] + 1j * waves[..., 0]
    wave = np.exp(1j * 10_000.0 ** (-np.arange(0, C, 2) / C))  # one step of each
    np.testing.assert_allclose(points[0], 1)  # every angle starts at 0
    np.testing.assert_allclose(points[1:], points[:-1] * wave)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: EncoderLayer(8, 3, 4), "channels=8 and heads=3"),
        (lambda: EncoderLayer(8, 2, 4, activation="gelu"), "'gelu'; there are relu, gelu_tanh"),
        (lambda: EncoderLayer(8, 2, 4).load({}), r"'attention.query_key_value.weight' must be"),
        (lambda: sinusoidal_positions(4, 5), "channels=5"),
    ],
    ids=["heads", "activation", "weights", "positions"],
)
def test_a_layer_that_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
