"""A round of updates: its targets by hand, its gradients and Adam's steps against torch's own."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hour9.engine.settings import load_settings
from hour9.rl import learner
from hour9.rl.adam import Adam, Vector
from hour9.rl.learner import Learner
from hour9.rl.qnetwork import QNetwork
from hour9.rl.settings import DQN


def batch_of(**changed: object) -> dict[str, torch.Tensor]:
    """One agent, one transition: a reward of 1, then 0.9 times the future."""
    values = {"reward": 1.0, "discount": 0.9, "terminated": False, "next_observation": [3.0]}
    return {name: torch.tensor([[value]]) for name, value in {**values, **changed}.items()}


VALUES = torch.tensor([[[3.0, 30.0]]])  # what the target network says of two actions


def test_a_target_is_the_reward_and_the_discounted_value_of_what_is_done_next():
    found = learner.q_targets(VALUES, batch_of())
    assert found.flatten().tolist() == pytest.approx([1 + 0.9 * 3, 1 + 0.9 * 30])


def test_only_a_terminated_state_is_worth_nothing():
    """A time limit that cut the episode leaves `terminated` false, and so its future."""
    found = learner.q_targets(VALUES, batch_of(terminated=True))
    assert found.flatten().tolist() == [1.0, 1.0]


def learner_of(**changed: object) -> Learner:
    """Two agents that remember a hundred transitions of random numbers."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    known = {
        "observation": random.normal(size=(100, 3)).astype(np.float32),
        "action": random.integers(4, size=100),
        "reward": random.normal(scale=3.0, size=100).astype(np.float32),  # beyond Huber's bend
        "next_observation": random.normal(size=(100, 3)).astype(np.float32),
        "terminated": random.random(100) < 0.1,
        "over": random.random(100) < 0.2,
    }
    settings = {"seeds": 2, "hidden": 8, "environments": 2, "updates": 6, "batch_size": 5}
    chosen = {**load_settings("cartpole-rainbow-lite").model_dump(), **settings, **changed}
    return Learner(DQN(**chosen), known, actions=4)


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("dueling", [False, True])
def test_a_round_is_what_autograd_and_torchs_adam_make_of_each_agent_alone(double, dueling):
    ours = learner_of(double=double, dueling=dueling)
    alone = [ours.network.only(agent) for agent in (0, 1)]
    for weight in ours.target.parameters():
        weight.data.mul_(1.1)  # it lags behind the network
    targets = [ours.target.only(agent) for agent in (0, 1)]
    batch = ours.replay.sample(6, 5, correction=0.5)
    with torch.no_grad():
        errors = ours.updates(batch, 0.01)
    for agent, (network, target) in enumerate(zip(alone, targets, strict=True)):
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
        for u in range(6):
            now = {name: tensor[u, agent : agent + 1] for name, tensor in batch.items()}
            with torch.no_grad():
                values = target(now["next_observation"])
                chooser = network if double else target
                best = chooser(now["next_observation"]).argmax(dim=-1, keepdim=True)
                wanted = learner.q_targets(values, now).gather(-1, best)[..., 0]
            found = network(now["observation"]).gather(-1, now["action"][..., None])[..., 0]
            torch.testing.assert_close(errors[u, agent], (found - wanted)[0])
            optimizer.zero_grad()
            loss = F.smooth_l1_loss(found, wanted, reduction="none")
            (now["weight"] * loss).mean().backward()
            optimizer.step()
        learned = ours.network.only(agent)
        for mine, theirs in zip(learned.parameters(), network.parameters(), strict=True):
            torch.testing.assert_close(mine, theirs)


def test_a_networks_weights_and_gradients_are_views_of_one_vector():
    network = QNetwork(torch.ones(3), 8, 2, agents=1, dueling=False)
    adam = Adam(Vector.of(network))
    adam.vector.gradient.fill_(1.0)
    before = [weight.detach().clone() for weight in network.parameters()]
    adam.step(0.5)  # the first step is as long as the rate, whatever the gradient
    for old, weight in zip(before, network.parameters(), strict=True):
        torch.testing.assert_close(old - weight, torch.full_like(old, 0.5))
        assert (weight.grad == 1).all()


def test_what_decays_to_nothing_is_nothing_and_other_arithmetic_is_left_alone():
    """0.9 of the smallest normal number would be a subnormal one, which is slow to reckon with."""
    adam = Adam(Vector.of(QNetwork(torch.ones(3), 8, 2, agents=1, dueling=False)))
    least = torch.finfo(torch.float32).tiny
    adam.mean.fill_(least)
    adam.step(0.01)
    assert not adam.mean.any()
    assert 0 < torch.tensor(least) * 0.9 < least


def test_a_dueling_network_splits_a_value_from_advantages_that_sum_to_zero():
    network = QNetwork(torch.ones(3), 8, 2, agents=1, dueling=True)
    last = torch.tensor([5.0, 1.0, 3.0])  # V = 5, A = 1 and 3
    network.value.weight.data.zero_()
    network.value.bias.data.copy_(last)
    assert network(torch.randn(1, 4, 3))[0, 0].tolist() == [5 + 1 - 2, 5 + 3 - 2]


def test_a_number_is_scaled_by_how_far_it_was_seen():
    scale = learner.largest(np.array([[1.0, -4.0, 0.0], [-2.0, 3.0, 0.0]], np.float32))
    assert scale.tolist() == [2.0, 4.0, 1.0]  # one that never moved stays as it is


@pytest.mark.parametrize("terminated", [False, True])
def test_values_from_a_centre_in_a_unit_are_the_same_values(terminated):
    """q's target, told in what the environment pays, is Q's own."""
    centre, unit = 100.0, 20.0
    batch = batch_of(terminated=terminated)
    told = {**batch, "reward": learner.centred(batch, centre, unit)}
    found = centre + unit * learner.q_targets((VALUES - centre) / unit, told)
    torch.testing.assert_close(found, learner.q_targets(VALUES, batch))


def test_a_mean_reward_for_ever_is_the_centre_and_a_share_of_it_the_unit():
    settings = learner_of(unit=0.1, discount=0.9).settings
    centre, unit = learner.for_ever(np.array([2.0, 2.0, 0.0, 0.0]), settings)
    assert (centre, unit) == pytest.approx((10.0, 1.0))
    centre, unit = learner.for_ever(np.array([-1.0, -1.0, 0.0, 0.0]), settings)
    assert (centre, unit) == pytest.approx((0.0, 0.5))  # what is new looks better than a cost
    assert learner.for_ever(np.zeros(3), settings) == (0.0, 1.0)  # nothing to measure with
    with pytest.raises(ValueError, match="discount below 1"):
        learner_of(unit=0.1, discount=1.0)


def test_what_is_answered_is_in_what_the_environment_pays():
    network = learner_of(unit=0.1, discount=0.9).network
    seen = np.ones((2, 3), np.float32)
    centre, unit = network.worth.tolist()
    assert (centre, unit) != (0.0, 1.0)
    np.testing.assert_allclose(network.values(seen), centre + unit * network.told(seen))
    np.testing.assert_array_equal(network.only(1).worth, network.worth)
