import pytest
import torch
from torch import nn

from hour9.transformers.load_weights import bert, decoder_layer, encoder_layer, gpt2

TOKENS = torch.tensor([[3, 1, 4, 1, 5, 9], [2, 6, 5, 3, 5, 8]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
SEGMENTS = torch.tensor([[0, 0, 0, 1, 1, 1]] * 2)


def shaken(model: nn.Module) -> nn.Module:
    """Biases that are not 0 and gains that are not 1: a wrong place would show."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model.double().eval()


@pytest.fixture(scope="module")
def their_bert():
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=20,
        hidden_size=16,
        num_hidden_layers=11,  # two digits: 1 is not 10
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=12,
    )
    return shaken(BertModel(config))


@pytest.fixture(scope="module")
def their_gpt():
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=20, n_embd=16, n_layer=11, n_head=2, n_positions=12)
    return shaken(GPT2LMHeadModel(config))


@pytest.mark.parametrize(
    "activation", ["relu", "gelu", nn.ReLU(), nn.GELU(), nn.GELU(approximate="tanh")]
)
@pytest.mark.parametrize("norm_first", [True, False])
def test_an_encoder_layer_of_torch_gives_the_same_outputs(norm_first, activation):
    theirs = nn.TransformerEncoderLayer(
        8, 2, 12, activation=activation, batch_first=True, norm_first=norm_first
    )
    ours = encoder_layer(shaken(theirs)).eval()
    x = torch.randn(2, 6, 8, dtype=torch.float64)
    expected = theirs(x, src_key_padding_mask=MASK == 0)
    found = ours(x, mask=MASK.bool()[:, None, None, :])
    torch.testing.assert_close(found[MASK == 1], expected[MASK == 1])


@pytest.mark.parametrize("norm_first", [True, False])
def test_a_decoder_layer_of_torch_gives_the_same_outputs(norm_first):
    theirs = nn.TransformerDecoderLayer(8, 2, 12, batch_first=True, norm_first=norm_first)
    ours = decoder_layer(shaken(theirs)).eval()
    x, source = torch.randn(2, 4, 8).double(), torch.randn(2, 6, 8).double()
    future = torch.ones(4, 4, dtype=torch.bool).triu(1)
    expected = theirs(x, source, tgt_mask=future, memory_key_padding_mask=MASK == 0)
    found = ours(x, source, source_mask=MASK.bool()[:, None, None, :])
    torch.testing.assert_close(found, expected)


def test_bert_of_hugging_face_gives_the_same_outputs(their_bert):
    ours = bert(their_bert.config.to_dict(), their_bert.state_dict()).eval()
    expected = their_bert(TOKENS, attention_mask=MASK, token_type_ids=SEGMENTS)
    found = ours(TOKENS, MASK, SEGMENTS)
    torch.testing.assert_close(found[MASK == 1], expected.last_hidden_state[MASK == 1])


def test_gpt2_of_hugging_face_gives_the_same_outputs(their_gpt):
    ours = gpt2(their_gpt.config.to_dict(), their_gpt.state_dict()).eval()
    torch.testing.assert_close(ours.logits(ours(TOKENS)), their_gpt(TOKENS).logits)


def test_gpt2_with_a_cache_gives_the_same_outputs(their_gpt):
    ours = gpt2(their_gpt.config.to_dict(), their_gpt.state_dict()).eval()
    caches = ours.caches()
    hidden = [ours(TOKENS[:, t : t + 1], caches=caches) for t in range(6)]
    torch.testing.assert_close(ours.logits(torch.cat(hidden, dim=1)), their_gpt(TOKENS).logits)


def test_training_goes_the_same_way(their_gpt):
    ours = gpt2(their_gpt.config.to_dict(), their_gpt.state_dict()).eval()
    for logits in (ours.logits(ours(TOKENS)), their_gpt(TOKENS).logits):
        nn.functional.cross_entropy(logits[:, :-1].mT, TOKENS[:, 1:]).backward()
    torch.testing.assert_close(ours.words.weight.grad, their_gpt.transformer.wte.weight.grad)
    torch.testing.assert_close(
        ours.layers[0].attention.query_key_value.weight.grad,
        their_gpt.transformer.h[0].attn.c_attn.weight.grad.T,
    )
    their_gpt.zero_grad()


def test_names_of_older_files_are_known(their_bert):
    old = {
        f"bert.{name}".replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): w
        for name, w in their_bert.state_dict().items()
    }
    old |= {"cls.predictions.bias": torch.zeros(20), "bert.embeddings.position_ids": TOKENS}
    found = bert(their_bert.config.to_dict(), old).state_dict()
    expected = bert(their_bert.config.to_dict(), their_bert.state_dict()).state_dict()
    torch.testing.assert_close(found, expected)


def test_a_file_with_other_weights_is_refused_with_all_that_is_wrong(their_bert):
    weights = their_bert.state_dict() | {"adapter": torch.zeros(1)}
    del weights["embeddings.LayerNorm.bias"]
    weights["embeddings.position_embeddings.weight"] = torch.zeros(3, 16)
    with pytest.raises(ValueError, match=r"lacks norm.bias.*has adapter.*\(3, 16\), not \(12, 16"):
        bert(their_bert.config.to_dict(), weights)


def test_settings_that_these_layers_do_not_compute_are_refused(their_gpt, their_bert):
    config = their_gpt.config.to_dict() | {
        "scale_attn_weights": False,
        "scale_attn_by_inverse_layer_idx": True,
    }
    with pytest.raises(ValueError, match=r"weights must be True, got False; .*idx must be False"):
        gpt2(config, their_gpt.state_dict())
    with pytest.raises(ValueError, match="no activation 'swish'; there are relu, gelu"):
        bert(their_bert.config.to_dict() | {"hidden_act": "swish"}, their_bert.state_dict())


@pytest.mark.parametrize("kind", ["roberta", "xlm-roberta", "camembert"])
def test_a_relative_of_bert_is_refused(their_bert, kind):
    with pytest.raises(ValueError, match=f"model_type must be bert, got {kind}"):
        bert(their_bert.config.to_dict() | {"model_type": kind}, their_bert.state_dict())


def test_an_older_config_does_not_say_that_it_is_bert(their_bert):
    config = their_bert.config.to_dict()
    del config["model_type"]
    bert(config, their_bert.state_dict())


def test_another_name_of_gelu_is_known(their_bert):
    config = their_bert.config.to_dict() | {"hidden_act": "gelu_python"}
    assert bert(config, their_bert.state_dict()).shape.layer.activation == "gelu"


def test_norms_of_a_layer_that_differ_in_eps_are_refused():
    theirs = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
    theirs.norm2.eps = 0.1
    with pytest.raises(ValueError, match=r"the same eps, got \[1e-05, 0.1\]"):
        encoder_layer(theirs)


def test_an_output_map_of_its_own_is_refused(their_gpt):
    weights = their_gpt.state_dict() | {"lm_head.weight": torch.zeros(20, 16)}
    with pytest.raises(ValueError, match="the words' own vectors"):
        gpt2(their_gpt.config.to_dict(), weights)
