"""Deep Q-learning: its targets by hand, what it may see, the kill."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hour9.engine.settings import Source
from hour9.rl import cartpole, dqn
from hour9.rl.qnetwork import QNetwork

SOURCE = Source(root="src/hour9/rl/environments.py", env="CartPole-v1", size=20)
SHORT = {"steps": 1_000, "check_every": 256, "hidden": 16, "updates": 8, "seeds": 2}


def batch_of(**changed: object) -> dict[str, torch.Tensor]:
    """One agent, one transition: a reward of 1, then 0.9 times the future."""
    values = {"reward": 1.0, "discount": 0.9, "terminated": False, "next_observation": [3.0]}
    return {name: torch.tensor([[value]]) for name, value in {**values, **changed}.items()}


VALUES = torch.tensor([[[3.0, 30.0]]])  # what the target network says of two actions


def test_a_target_is_the_reward_and_the_discounted_best_that_follows():
    assert dqn.q_targets(VALUES, batch_of(), None).item() == pytest.approx(1 + 0.9 * 30)


def test_only_a_terminated_state_is_worth_nothing():
    """A time limit that cut the episode leaves `terminated` false, and so its future."""
    assert dqn.q_targets(VALUES, batch_of(terminated=True), None).item() == 1.0


def test_double_learning_values_the_action_that_the_other_network_chose():
    def prefers_the_first(seen: torch.Tensor) -> torch.Tensor:
        return torch.cat([seen, -seen], dim=-1)

    found = dqn.q_targets(VALUES, batch_of(), prefers_the_first).item()
    assert found == pytest.approx(1 + 0.9 * 3)


def test_agents_side_by_side_learn_what_each_learns_alone():
    """Two agents' loss has the gradient that each of them has by itself."""
    torch.manual_seed(0)
    pair = QNetwork(torch.ones(3), 8, 2, agents=2, dueling=True)
    seen, target = torch.randn(2, 5, 3), torch.randn(2, 5)
    dqn.weighted_loss(pair(seen)[..., 0], target, torch.ones(2, 5))[0].backward()
    for agent in (0, 1):
        one = pair.only(agent)
        F.smooth_l1_loss(one(seen[agent : agent + 1])[..., 0], target[agent : agent + 1]).backward()
        for both, own in zip(pair.parameters(), one.parameters(), strict=True):
            torch.testing.assert_close(both.grad[agent : agent + 1], own.grad)


def test_a_dueling_network_splits_a_value_from_advantages_that_sum_to_zero():
    network = QNetwork(torch.ones(3), 8, 2, agents=1, dueling=True)
    last = torch.tensor([5.0, 1.0, 3.0])  # V = 5, A = 1 and 3
    network.value.weight.data.zero_()
    network.value.bias.data.copy_(last)
    assert network(torch.randn(1, 4, 3))[0, 0].tolist() == [5 + 1 - 2, 5 + 3 - 2]


def test_training_starts_with_the_train_episodes_and_never_plays_another_cases():
    tables = cartpole.ingest(SOURCE)
    cases = tables["cases"]
    seed_of = dqn.seed_stream(tables, seed=0)
    train = cases.loc[cases["split"] == "train", "seed"].tolist()
    stream = [seed_of(0, n) for n in range(500)]
    assert stream[: len(train)] == train
    assert min(stream[len(train) :]) > max(cases["seed"].max(), cartpole.SEEDS)
    assert len({*stream}) == len(stream)
    assert not {*stream[len(train) :]} & {seed_of(1, n) for n in range(len(train), 500)}


def test_the_largest_return_is_known_only_where_every_step_earns_the_same():
    tables = cartpole.ingest(SOURCE)
    assert dqn.largest_return(tables) == 500
    tables["transitions"].loc[0, "reward"] = 0.0
    assert dqn.largest_return(tables) == float("inf")


def test_a_number_is_scaled_by_how_far_it_was_seen():
    scale = dqn.largest(np.array([[1.0, -4.0, 0.0], [-2.0, 3.0, 0.0]], np.float32))
    assert scale.tolist() == [2.0, 4.0, 1.0]  # one that never moved stays as it is


@pytest.mark.parametrize("candidate", ["cartpole-dqn", "cartpole-rainbow-lite"])
def test_a_training_that_is_killed_ends_with_the_same_bytes(candidate, killed_and_resumed):
    """Its environments stand in the middle of episodes then, its target behind its network."""
    whole, resumed = killed_and_resumed(cartpole.TASK, candidate, cartpole.ingest(SOURCE), **SHORT)
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
    scores = cartpole.score(run.folder, tables)[validation]
    best = json.loads((run.folder / "config.json").read_text())["validation"]
    assert [scores["score.seed0"].mean(), scores["score.seed1"].mean()] == best
    assert max(point["validation"] for point in run.curve) <= sum(best) / 2
