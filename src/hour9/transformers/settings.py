"""The knobs of the Transformers, an architecture a class, and of the weights they start from."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, PositiveInt, ValidationInfo

from hour9.engine.settings import Dropout, Settings, Supervised


def divides_channels(heads: int, info: ValidationInfo) -> int:
    """Each head has as many of the features."""
    if (channels := info.data.get("channels", heads)) % heads:
        raise ValueError(f"heads must divide channels ({channels})")
    return heads


Heads = Annotated[int, AfterValidator(divides_channels)]


class WeightsConfig(BaseModel, frozen=True, extra="forbid"):
    """Where pre-trained weights come from. They are used only if their SHA-256 is the one here."""

    kind: Literal["package", "path", "hub"] = Field(
        "package",
        description="package: files of the installed package `name`, none of its code; "
        "path: the local folder `root`; hub: downloaded from Hugging Face by `name`",
    )
    name: str = Field("", description="a package, or a hub id: 'owner/model' or '…@revision'")
    root: str = Field(description="relative file or folder that the weights depend on")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="of model.safetensors, lower case")


class BertSettings(Supervised, frozen=True, extra="forbid"):
    """A pre-trained BERT, fine-tuned to classify texts."""

    architecture: Literal["bert"] = Field("bert", description="which model of the topic")
    max_tokens: int = Field(
        128, ge=8, le=512, description="tokens of a text that are read; the rest is cut off"
    )
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="step size of a layer, as a share of that of the one above"
    )
    frozen: int = Field(
        0, ge=0, description="layers that stay as published, the lowest; all embeddings with them"
    )
    adversarial: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="how far each text is moved against its label, as a share of its length; "
        "0 is no adversarial training",
    )


class EncoderSettings(Supervised, frozen=True, extra="forbid"):
    """An encoder of one's own that classifies texts and has read no others."""

    architecture: Literal["encoder"] = Field("encoder", description="which model of the topic")
    max_tokens: int = Field(128, ge=8, le=512, description="tokens of a text that are read")
    words: PositiveInt = Field(
        1000, description="word pieces to learn from the training texts, each letter among them"
    )
    layers: PositiveInt = Field(2, description="encoder layers")
    channels: PositiveInt = Field(64, description="features of a token, a multiple of heads")
    heads: Heads = Field(4, ge=1, description="attention heads")
    dropout: Dropout = Field(0.1, ge=0, lt=1, description="share of features dropped in training")


class StudentSettings(Supervised, frozen=True, extra="forbid"):
    """A smaller encoder that learns from a trained one, its parent."""

    architecture: Literal["student"] = Field("student", description="which model of the topic")
    layers: PositiveInt = Field(2, description="encoder layers, the teacher's lowest at first")
    hidden: PositiveInt = Field(
        768, description="features inside a feed-forward network, the teacher's strongest at first"
    )
    temperature: float = Field(2.0, gt=0, description="divides both models' logits")
    copies: int = Field(3, ge=0, description="reworded copies of each training text")
    match: float = Field(1.0, ge=0, description="weight of the distance between hidden states")


class Int8Settings(Settings, frozen=True, extra="forbid"):
    """A trained classifier, its parent, in whole numbers of eight bits. Nothing is learned."""

    architecture: Literal["int8"] = Field("int8", description="which model of the topic")


class TextSettings(Supervised, frozen=True, extra="forbid"):
    """What a GPT may vary, whatever it starts from."""

    context: int = Field(
        128, ge=8, le=4096, description="tokens of a training row; a new model reads as many"
    )
    dropout: Dropout = Field(0.0, ge=0, lt=1, description="share of activations set to zero")


class GptSettings(TextSettings, frozen=True, extra="forbid"):
    """A GPT, fine-tuned on the passages. `parent` is a folder of weights: ours, or a GPT-2's."""

    architecture: Literal["gpt"] = Field("gpt", description="which model of the topic")


class NewGptSettings(TextSettings, frozen=True, extra="forbid"):
    """A GPT that starts from nothing."""

    architecture: Literal["new-gpt"] = Field("new-gpt", description="which model of the topic")
    corpus: Literal["reference", "passages"] = Field(
        "passages", description="what it reads: the language reference, or the task's passages"
    )
    vocabulary: int = Field(
        1024, ge=257, le=65536, description="tokens, the 256 bytes among them; 257: bytes alone"
    )
    channels: int = Field(128, ge=8, le=4096, description="width of the stream between layers")
    heads: Heads = Field(4, ge=1, le=64, description="heads of each attention; divides channels")
    layers: int = Field(4, ge=1, le=64, description="how many layers stand on each other")
    positions: Literal["learned", "sinusoidal", "rotary"] = Field(
        "learned", description="how a token says where it stands"
    )


class VitSettings(Supervised, frozen=True, extra="forbid"):
    """A vision Transformer, trained from scratch."""

    architecture: Literal["vit"] = Field("vit", description="which model of the topic")
    patch: int = Field(2, ge=1, le=64, description="pixels a side of a patch; must tile the image")
    channels: int = Field(64, ge=4, le=1024, description="features of a patch inside the model")
    layers: int = Field(4, ge=1, le=24, description="encoder layers")
    heads: Heads = Field(4, ge=1, le=32, description="attention heads; a divisor of channels")
    dropout: Dropout = Field(0.0, ge=0, lt=1, description="share of features set to zero")
    shift: float = Field(1.0, ge=0, description="pixels that a training image is moved at most")


class Seq2SeqSettings(Supervised, frozen=True, extra="forbid"):
    """An encoder and a decoder, trained from scratch to translate."""

    architecture: Literal["seq2seq"] = Field("seq2seq", description="which model of the topic")
    pieces: int = Field(
        0, ge=0, le=100_000, description="word pieces to learn from the training texts; 0: letters"
    )
    channels: int = Field(64, ge=4, le=1024, description="features of a token inside the model")
    layers: int = Field(2, ge=1, le=24, description="layers of the encoder, and of the decoder")
    heads: Heads = Field(4, ge=1, le=32, description="attention heads; a divisor of channels")
    dropout: Dropout = Field(0.0, ge=0, lt=1, description="share of features set to zero")
    smoothing: float = Field(
        0.0, ge=0, lt=1, description="share of the probability that the loss gives to all tokens"
    )
    max_tokens: int = Field(
        64, ge=8, le=1024, description="tokens of a text that are read; longer pairs teach nothing"
    )
    beam: int = Field(1, ge=1, le=64, description="translations kept in the search; 1: greedy")
