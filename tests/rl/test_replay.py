"""The memory of transitions."""

import numpy as np
import torch

from hour9.rl.replay import Replay


def numbered(first: int, count: int) -> dict[str, np.ndarray]:
    number = np.arange(first, first + count)
    return {
        "observation": np.stack([number, number], axis=1).astype(np.float32),
        "action": number % 2,
        "reward": number.astype(np.float32),
        "next_observation": np.stack([number + 1, number + 1], axis=1).astype(np.float32),
        "terminated": number % 3 == 0,
    }


def test_the_newest_are_remembered_and_the_oldest_forgotten():
    replay = Replay(capacity=5, observations=2, device=torch.device("cpu"))
    for first in (0, 3, 6):
        replay.add(numbered(first, 3))
    assert len(replay) == 5
    assert sorted(replay.memory["reward"].tolist()) == [4, 5, 6, 7, 8]


def test_a_sample_never_mixes_two_transitions_and_never_shows_an_empty_place():
    replay = Replay(capacity=100, observations=2, device=torch.device("cpu"))
    replay.add(numbered(1, 7))
    batch = replay.sample(4, 50)
    assert set(batch["reward"].flatten().tolist()) <= set(range(1, 8))
    assert torch.equal(batch["observation"][..., 0], batch["reward"])
    assert torch.equal(batch["next_observation"][..., 1], batch["reward"] + 1)
    assert torch.equal(batch["terminated"], batch["reward"] % 3 == 0)


def test_what_was_saved_is_what_is_restored():
    first, second = (Replay(5, 2, torch.device("cpu")) for _ in range(2))
    first.add(numbered(0, 4))
    second.restore(first.state())
    for replay in (first, second):
        replay.add(numbered(4, 3))
    for name in first.memory:
        assert torch.equal(first.memory[name], second.memory[name])
