"""Deep Q-learning: its targets by hand, what it may see, the kill."""

import numpy as np
import pytest
import torch

from hour9.engine.settings import Source
from hour9.rl import cartpole, dqn

SOURCE = Source(root="src/hour9/rl/environments.py", env="CartPole-v1", size=20)
SHORT = {"steps": 1_000, "check_every": 256, "hidden": 16, "updates": 8}


def worth(observation: torch.Tensor) -> torch.Tensor:
    """A target network that values two actions at the observation and at ten times of it."""
    return torch.cat([observation, 10 * observation], dim=-1)


@pytest.mark.parametrize(
    ("terminated", "expected"),
    [
        (False, 1 + 0.9 * 30),  # the better of 3 and 30; also where a time limit cut the episode
        (True, 1.0),  # a terminal state is worth nothing
    ],
)
def test_only_a_terminated_state_is_worth_nothing(terminated, expected):
    batch = {
        "next_observation": torch.tensor([[3.0]]),
        "reward": torch.tensor([1.0]),
        "terminated": torch.tensor([terminated]),
    }
    assert dqn.q_targets(worth, batch, discount=0.9).item() == pytest.approx(expected)


def test_training_starts_with_the_train_episodes_and_never_plays_another_cases():
    tables = cartpole.ingest(SOURCE)
    cases = tables["cases"]
    seed_of = dqn.seed_stream(tables, seed=0)
    train = cases.loc[cases["split"] == "train", "seed"].tolist()
    stream = [seed_of(n) for n in range(500)]
    assert stream[: len(train)] == train
    assert min(stream[len(train) :]) > max(cases["seed"].max(), cartpole.SEEDS)
    assert len({*stream}) == len(stream)


def test_the_largest_return_is_known_only_where_every_step_earns_the_same():
    tables = cartpole.ingest(SOURCE)
    assert dqn.largest_return(tables) == 500
    tables["transitions"].loc[0, "reward"] = 0.0
    assert dqn.largest_return(tables) == float("inf")


def test_a_number_is_scaled_by_how_far_it_was_seen():
    scale = dqn.largest(np.array([[1.0, -4.0, 0.0], [-2.0, 3.0, 0.0]], np.float32))
    assert scale.tolist() == [2.0, 4.0, 1.0]  # one that never moved stays as it is


def test_a_training_that_is_killed_ends_with_the_same_bytes(killed_and_resumed):
    """Its environments stand in the middle of episodes then, its target behind its network."""
    whole, resumed = killed_and_resumed(
        cartpole.TASK, "cartpole-dqn", cartpole.ingest(SOURCE), **SHORT
    )
    for name in ("model.safetensors", "config.json"):
        assert (whole.folder / name).read_bytes() == (resumed.folder / name).read_bytes()
    assert whole.curve == resumed.curve


def test_the_model_kept_is_the_one_that_played_validation_best(run_of):
    """Checked so often, a learner is hardly ever at its best when it stops."""
    tables = cartpole.ingest(SOURCE)
    often = {**SHORT, "steps": 2_500, "check_every": 128, "updates": 32}
    run = run_of(cartpole.TASK, "cartpole-dqn", tables, **often)
    cartpole.TASK.train(run)
    validation = tables["cases"]["split"] == "validation"
    kept = cartpole.score(run.folder, tables)["score"][validation].mean()
    assert kept == max(point["validation"] for point in run.curve)
