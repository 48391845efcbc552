"""What the pictures of an agent show, that they repeat, and that a window needs a screen."""

import numpy as np
import pandas as pd
import pygame
import pytest
from PIL import Image

from hour9.rl import seeds
from hour9.rl.maps import draw_map
from hour9.rl.watch import animate, play_in_window
from hour9.task import NoScreen


@pytest.mark.parametrize("name", ["CartPole-v1", "FrozenLake-v1"])
def test_an_episode_is_an_animation_with_the_same_bytes_every_time(name, tmp_path):
    films = [tmp_path / "one.gif", tmp_path / "two.gif"]
    for film in films:
        animate(name, lambda seen: 1, 7, film)
    assert films[0].read_bytes() == films[1].read_bytes()
    assert len(films[0].read_bytes()) < 500_000
    with Image.open(films[0]) as film:
        assert film.n_frames > 3


@pytest.mark.parametrize("driver", ["", "x12"], ids=["none there", "no such driver"])
def test_without_a_screen_no_window_opens(driver, monkeypatch):
    pygame.display.quit()
    monkeypatch.setenv("SDL_VIDEODRIVER", driver)
    for screen in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(screen, raising=False)
    with pytest.raises(NoScreen, match="no screen"):
        play_in_window("CartPole-v1", lambda seen: 1, 7)
    pygame.display.quit()


def test_a_driver_that_was_asked_for_needs_no_display(monkeypatch):
    pygame.display.quit()
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.delenv("DISPLAY", raising=False)
    assert play_in_window("CartPole-v1", lambda seen: 1, 7) == 10.0  # it falls to one side


@pytest.mark.parametrize(
    ("name", "states", "actions"),
    [("Taxi-v4", 500, 6), ("FrozenLake8x8-v1", 64, 4), ("CliffWalking-v1", 48, 4)],
)
def test_a_world_of_squares_has_a_map(name, states, actions, tmp_path):
    draw_map(name, np.random.default_rng(0).random((states, actions)), tmp_path)
    with Image.open(tmp_path / "The_policy_and_the_values_on_the_map.png") as picture:
        assert len(picture.getcolors(10**6)) > 20  # values and arrows


def test_a_performance_profile_is_the_share_of_episodes_above_each_level():
    scores = np.array([[1.0, 2.0], [3.0, 4.0]])  # two agents, two episodes each
    levels = np.array([0.0, 1.0, 2.5, 4.0])
    assert seeds.performance_profile(scores, levels).tolist() == [1.0, 0.75, 0.5, 0.0]
    low, high = seeds.profile_band(scores, levels)
    assert low.tolist() == [1.0, 0.5, 0.0, 0.0]  # one agent twice, or the other twice
    assert high.tolist() == [1.0, 1.0, 1.0, 0.0]


def test_the_profile_shows_agents_beside_baselines(tmp_path):
    cases = pd.DataFrame({"case": ["a", "b"], "split": "test"})
    found = seeds.evidence(cases["case"], np.array([[1.0, 2.0], [3.0, 4.0]]), registered=0)
    baselines = seeds.better_baseline(cases.assign(split="train"), {"baseline.x": np.zeros(2)})
    seeds.draw_profile(cases, found, baselines, tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".png"]
