"""The memory of transitions."""

import numpy as np
import pytest
import torch

from hour9.rl.replay import Replay


def numbered(first: int, over: tuple[int, ...] = ()) -> dict[str, np.ndarray]:
    """Two agents, one environment each: step n is seen as n and earns n, or 100 n by the second."""
    number = np.array([first, 100 * first])
    return {
        "observation": np.stack([number, number], axis=1).astype(np.float32),
        "action": number % 2,
        "reward": number.astype(np.float32),
        "next_observation": np.stack([number, number], axis=1).astype(np.float32) + 1,
        "terminated": number < 0,
        "over": np.full(2, first in over),
    }


def filled(steps: int, capacity: int = 100, over: tuple[int, ...] = (), **settings) -> Replay:
    replay = Replay((2, 1, 2), capacity, torch.device("cpu"), **settings)
    for step in range(1, steps + 1):
        replay.add(numbered(step, over=over))
    return replay


def test_the_newest_are_remembered_and_the_oldest_forgotten():
    replay = filled(8, capacity=5)
    assert len(replay) == 5
    assert sorted(replay.memory["reward"][0].flatten().tolist()) == [4, 5, 6, 7, 8]


@pytest.mark.parametrize("priority", [0.0, 0.5])
def test_a_sample_never_mixes_two_transitions_or_agents_and_never_shows_an_empty_place(priority):
    batch = filled(7, priority=priority).sample(4, 50)
    assert {*batch["reward"][:, 0].flatten().tolist()} == {*range(1, 8)}
    assert {*batch["reward"][:, 1].flatten().tolist()} == {*range(100, 800, 100)}
    assert torch.equal(batch["observation"][..., 0], batch["reward"])
    assert torch.equal(batch["next_observation"][..., 1], batch["reward"] + 1)


@pytest.mark.parametrize("priority", [0.0, 0.5])
@pytest.mark.parametrize("capacity", [100, 6])  # six: the oldest are overwritten
def test_rewards_of_several_steps_are_summed_up_to_where_the_episode_is_over(capacity, priority):
    replay = filled(9, capacity, over=(6,), discount=0.5, n_step=3, priority=priority)
    batch = replay.sample(10, 50)
    found = {
        int(seen): (reward.item(), discount.item(), int(last) - 1)
        for seen, reward, discount, last in zip(
            batch["observation"][:, 0, :, 0].flatten(),
            batch["reward"][:, 0].flatten(),
            batch["discount"][:, 0].flatten(),
            batch["next_observation"][:, 0, :, 0].flatten(),
            strict=True,
        )
    }
    assert found[4] == (4 + 5 / 2 + 6 / 4, 1 / 8, 6)
    assert found[5] == (5 + 6 / 2, 1 / 4, 6)  # two steps, then it is over
    assert found[6] == (6, 1 / 2, 6)
    assert found[7] == (7 + 8 / 2 + 9 / 4, 1 / 8, 9)
    assert max(found) == 7  # what follows 8 and 9 has not happened yet


def test_a_transition_is_drawn_as_often_as_its_error_is_large():
    replay = filled(2, priority=0.5)
    replay.renew(torch.tensor([[0, 1]]), torch.tensor([[9.0, -1.0]]))  # the first agent's
    batch = replay.sample(100, 100, correction=1.0)
    first = batch["reward"][:, 0]
    assert (first == 1).float().mean().item() == pytest.approx(3 / (3 + 1), abs=0.02)  # 9^½ to 1^½
    weights = batch["weight"][:, 0]  # so it counts for a third: all are seen equally in the end
    assert weights[first == 1].unique().tolist() == [pytest.approx(1 / 3, rel=1e-3)]
    assert weights[first == 2].unique().tolist() == [1.0]


def test_a_new_transition_is_as_likely_as_the_likeliest():
    replay = filled(2, priority=1.0)
    replay.renew(torch.tensor([[0, 1]]), torch.tensor([[9.0, 1.0]]))
    replay.add(numbered(3))
    assert replay.memory["priority"][0, 2].item() == pytest.approx(9, rel=1e-3)


def test_what_was_saved_is_what_is_restored():
    first, second = filled(4, 5), filled(0, 5)
    second.restore(first.state())
    for replay in (first, second):
        for step in (5, 6, 7):
            replay.add(numbered(step))
    for name in first.memory:
        assert torch.equal(first.memory[name], second.memory[name])
