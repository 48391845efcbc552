"""What each architecture of the topic may vary. Values live in params.yaml."""

from typing import Literal

from pydantic import Field, PositiveInt

from hour9.engine.settings import Supervised


class Gcn(Supervised, frozen=True, extra="forbid"):
    """A graph convolutional network on one graph, all of it in every update."""

    architecture: Literal["gcn"]
    batch_size: Literal[1] = Field(1, description="the whole graph is the one batch of an epoch")
    hidden: PositiveInt = Field(16, le=4096, description="width of the hidden layer")
    feature_dropout: float = Field(0.5, ge=0, lt=1, description="share of feature entries hidden")
    hidden_dropout: float = Field(0.5, ge=0, lt=1, description="share of hidden units hidden")
    l2: float = Field(5e-4, ge=0, le=1, description="penalty on half the squared first weights")


class Gat(Supervised, frozen=True, extra="forbid"):
    """A graph attention network on one graph, all of it in every update."""

    architecture: Literal["gat"]
    batch_size: Literal[1] = Field(1, description="the whole graph is the one batch of an epoch")
    hidden: PositiveInt = Field(8, le=4096, description="width of each head of the hidden layer")
    heads: PositiveInt = Field(8, le=64, description="heads of the hidden layer")
    feature_dropout: float = Field(0.6, ge=0, lt=1, description="share of feature entries hidden")
    hidden_dropout: float = Field(0.6, ge=0, lt=1, description="share of hidden units hidden")
    attention_dropout: float = Field(0.6, ge=0, lt=1, description="share of neighbours not heard")
    l2: float = Field(5e-4, ge=0, le=1, description="penalty on half the squared first weights")


class Gin(Supervised, frozen=True, extra="forbid"):
    """A graph isomorphism network on whole graphs."""

    architecture: Literal["gin"]
    hidden: PositiveInt = Field(32, le=4096, description="width of each layer")
    layers: PositiveInt = Field(5, le=64, description="steps that a node hears")
    dropout: float = Field(0.5, ge=0, lt=1, description="share of the read-out hidden")


class SetToSet(Supervised, frozen=True, extra="forbid"):
    """A message-passing network on whole graphs, read out by attention over the set of nodes."""

    architecture: Literal["mpnn-set2set"]
    hidden: PositiveInt = Field(32, le=4096, description="width of what a node knows")
    units: PositiveInt = Field(8, le=1024, description="hidden units of the edge network")
    rounds: PositiveInt = Field(3, le=64, description="steps that a node hears")
    turns: PositiveInt = Field(3, le=64, description="questions that the read-out asks")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of the read-out hidden")
