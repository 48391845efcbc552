"""The knobs of the agents, with their units. Values live in params.yaml."""

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, ValidationInfo, field_validator, model_validator

from hour9.engine.settings import Searched, Settings, StepSize


class Agent(Settings, frozen=True, extra="forbid"):
    """What any agent that learns from its own steps may vary."""

    parent: str = Field(description="the task's data; an agent starts from no other's weights")
    precision: Literal["auto", "fp32"] = Field(
        "auto", description="fp32 in either case: rounding would cost more than it saves here"
    )
    seeds: PositiveInt = Field(
        5, le=20, description="agents trained side by side, apart only in their random numbers"
    )
    steps: PositiveInt = Field(
        description="steps of each agent in its environment at most, to the end of a round"
    )
    check_every: PositiveInt = Field(description="steps between two checks on validation")
    discount: float = Field(0.99, ge=0, le=1, description="γ: worth of a reward one step later")
    epsilon_start: float = Field(1.0, ge=0, le=1, description="share of random actions at first")
    epsilon_final: Annotated[float, Searched(low=0.01, high=0.3)] = Field(
        0.05, ge=0, le=1, description="share of random actions in the end"
    )
    exploration: float = Field(0.5, gt=0, le=1, description="share of `steps` from start to final")

    @field_validator("parent")
    @classmethod
    def starts_anew(cls, parent: str, info: ValidationInfo) -> str:
        if parent != (own := f"data/{info.data.get('task')}"):
            raise ValueError(f"an agent starts from no other's weights: set it to {own}")
        return parent

    def epsilon(self, step: int) -> float:
        """Share of random actions at a step: a line from start to final, then level."""
        gone = min(1.0, step / (self.exploration * self.steps))
        return self.epsilon_start + gone * (self.epsilon_final - self.epsilon_start)


class QLearning(Agent, frozen=True, extra="forbid"):
    """Tabular learning from single steps."""

    architecture: Literal["qlearning"]
    discount: float = Field(
        0.99,
        ge=0,
        lt=1,
        description="γ: worth of a reward one step later; at 1, that of a policy "
        "which never arrives would be no number",
    )
    device: Literal["auto", "cpu"] = Field("auto", description="the CPU: a table is read by hand")
    update: Literal["q", "sarsa", "expected-sarsa", "double-q"] = Field(
        "q", description="what a step is corrected towards: the rules are in qlearning.py"
    )
    walkers: PositiveInt = Field(
        1, description="episodes that each agent plays at once, all of them into one table"
    )
    step_size: float = Field(1.0, gt=0, le=1, description="α: share of the error corrected at once")
    step_size_decay: Annotated[float, Searched(low=0.3, high=1.0)] = Field(
        0.0, ge=0, le=1, description="ω: the n-th visit of a state and action corrects α / n^ω"
    )


class DQN(Agent, frozen=True, extra="forbid"):
    """Deep Q-learning with experience replay and a target network; then what Rainbow added."""

    architecture: Literal["dqn", "rainbow-lite"]  # one learner: the second has its switches on
    hidden: PositiveInt = Field(description="width of each of the two hidden layers")
    environments: PositiveInt = Field(description="environments that each agent plays at once")
    round_steps: PositiveInt = Field(description="steps of each environment between two rounds")
    keep: PositiveInt = Field(
        1, description="steps of a round for which a random action is kept, or none is taken"
    )
    updates: PositiveInt = Field(description="optimizer updates in a round")
    target_every: PositiveInt = Field(description="rounds between two copies to the target")
    batch_size: PositiveInt = Field(description="transitions in one update")
    learning_rate: StepSize = Field(gt=0, lt=1, description="Adam's step size at first")
    decay: bool = Field(description="let it fall linearly to a hundredth over `steps`, or stay")
    replay: PositiveInt = Field(description="transitions that each agent remembers at most")
    double: bool = Field(
        False, description="the network chooses the next action, its target values it"
    )
    dueling: bool = Field(False, description="a state's value and its actions' advantages apart")
    n_step: int = Field(
        1, ge=1, le=20, description="rewards that are seen before the future is estimated"
    )
    unit: float = Field(
        0.0,
        ge=0,
        le=1,
        description="scale of what the network learns, as a share of what a mean reward for ever "
        "is worth; it learns the distance from that, or from 0 where a step costs; 0: off",
    )
    priority: float = Field(
        0.0, ge=0, le=1, description="α: how much a large error is drawn more often; 0: evenly"
    )

    @model_validator(mode="after")
    def something_for_ever(self) -> Self:
        """Undiscounted, a reward for ever is worth no number."""
        if self.unit and self.discount == 1:
            raise ValueError("unit needs a discount below 1; set unit=0 or discount=0.99")
        return self

    @model_validator(mode="after")
    def remembers_whole_steps(self) -> Self:
        """What is drawn from the replay has n rewards, one after the other, of one environment."""
        if self.replay < (least := self.environments * self.n_step):
            raise ValueError(
                f"replay must hold n_step transitions of each environment, {least}; "
                f"got {self.replay}"
            )
        return self
