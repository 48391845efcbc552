"""Deep Q-learning: its targets by hand, what it may see, the kill."""

import json

import pytest

from hour9.engine.settings import Source
from hour9.rl import cartpole, dqn

SOURCE = Source(root="src/hour9/rl/environments.py", env="CartPole-v1", size=20)
SHORT = {"steps": 1_000, "check_every": 256, "hidden": 16, "updates": 8, "seeds": 2}


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


def test_a_random_action_is_kept_for_as_many_steps_as_asked(run_of):
    tables = cartpole.ingest(SOURCE)
    run = run_of(cartpole.TASK, "cartpole-dqn", tables, **SHORT, keep=4, epsilon_start=1.0)
    training = dqn.Training(run)
    before = training.learner.replay.added
    training.gather()
    taken = training.learner.replay.memory["action"][:, before : before + 16]  # (G, 16, E)
    assert taken.shape[1] == 16
    blocks = taken.reshape(2, 4, 4, -1)  # always random at first
    assert (blocks == blocks[:, :, :1]).all()
    assert (blocks[:, 0] != blocks[:, 1]).any()
