"""What each architecture of the topic may vary. Values live in params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, ValidationInfo, field_validator

from hour9.engine.settings import Dropout, Searched, Supervised

LAYERS = 2  # of every network on one graph


class OnNodes(Supervised, frozen=True, extra="forbid"):
    """What every network on one graph may vary."""

    batch_size: PositiveInt = Field(
        512, description="labelled nodes in one update, at most; with consistency, all of them"
    )
    neighbours: list[NonNegativeInt] = Field(
        [],
        description="neighbours that a node hears in training, drawn anew at each update, a number "
        "for each layer, the first layer first; 0 is all; an empty list is all in all layers",
    )
    hidden: PositiveInt = Field(16, le=4096, description="width of the hidden layer, or of a head")
    feature_dropout: Dropout = Field(0.5, ge=0, lt=1, description="share of feature entries hidden")
    hidden_dropout: Dropout = Field(0.5, ge=0, lt=1, description="share of hidden units hidden")
    smoothing: float = Field(
        0.0, ge=0, lt=1, description="share of its neighbours in what is answered for a node"
    )
    consistency: float = Field(
        0.0,
        ge=0,
        le=100,
        description="weight of answering all nodes alike under different dropout; 0: a step sees "
        "what the labelled nodes hear, and no more",
    )
    l2: Annotated[float, Searched(factor=10)] = Field(
        5e-4, ge=0, le=1, description="penalty on half the squared first weights"
    )

    @field_validator("neighbours")
    @classmethod
    def one_a_layer(cls, neighbours: list[int]) -> list[int]:
        if len(neighbours) not in (0, LAYERS):
            raise ValueError(f"neighbours takes {LAYERS} numbers, one a layer, or none")
        return neighbours

    @field_validator("consistency")
    @classmethod
    def all_at_once(cls, consistency: float, info: ValidationInfo) -> float:
        if consistency and any(info.data.get("neighbours", [])):
            raise ValueError(
                "consistency asks for all nodes in one step: set it to 0, or neighbours to []"
            )
        return consistency


class Gcn(OnNodes, frozen=True, extra="forbid"):
    """A graph convolutional network."""

    architecture: Literal["gcn"]


class Gat(OnNodes, frozen=True, extra="forbid"):
    """A graph attention network."""

    architecture: Literal["gat"]
    heads: PositiveInt = Field(8, le=64, description="heads of the hidden layer")
    attention_dropout: Dropout = Field(0.6, ge=0, lt=1, description="share of neighbours not heard")


class Mpnn(OnNodes, frozen=True, extra="forbid"):
    """A message-passing network that hears a neighbour through what their edge carries."""

    architecture: Literal["mpnn"]
    units: PositiveInt = Field(4, le=256, description="hidden units of the network on an edge")


class Gae(Supervised, frozen=True, extra="forbid"):
    """A graph auto-encoder: a graph convolutional encoder, products of embeddings."""

    architecture: Literal["gae"]
    batch_size: Literal[1] = Field(1, description="all edges are the one batch of an epoch")
    hidden: PositiveInt = Field(32, le=4096, description="width of the hidden layer")
    channels: int = Field(16, ge=2, le=4096, description="width of an embedding")
    feature_dropout: Dropout = Field(0.0, ge=0, lt=1, description="share of feature entries hidden")
    hidden_dropout: Dropout = Field(0.0, ge=0, lt=1, description="share of hidden units hidden")


class Gin(Supervised, frozen=True, extra="forbid"):
    """A graph isomorphism network on whole graphs."""

    architecture: Literal["gin"]
    processes: Literal[1] = Field(
        1, description="one: each of several would normalise its own batches alone"
    )
    hidden: PositiveInt = Field(32, le=4096, description="width of each layer")
    layers: PositiveInt = Field(5, le=64, description="steps that a node hears")
    dropout: Dropout = Field(0.5, ge=0, lt=1, description="share of the read-out hidden")


class SetToSet(Supervised, frozen=True, extra="forbid"):
    """A message-passing network on whole graphs, read out by attention over the set of nodes."""

    architecture: Literal["mpnn-set2set"]
    hidden: PositiveInt = Field(32, le=4096, description="width of what a node knows")
    units: PositiveInt = Field(8, le=1024, description="hidden units of the edge network")
    rounds: PositiveInt = Field(3, le=64, description="steps that a node hears")
    turns: PositiveInt = Field(3, le=64, description="questions that the read-out asks")
    dropout: Dropout = Field(0.0, ge=0, lt=1, description="share of the read-out hidden")
