"""Watching an agent: an episode as an animation, or in a window."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hour9.rl.environments import make
from hour9.task import NoScreen

FILMED = 7
"""The episode that is shown: any would do, the same must be."""

WIDEST = 300
"""Pixels; Gymnasium draws twice as many."""

FRAMES = 120
"""Of a longer episode only every second, every third… step is shown."""

COLOURS = 64

Choose = Callable[[Any], int]
"""An observation -> an action."""


def animate(name: str, choose: Choose, seed: int, path: Path) -> None:
    """Write one episode as a GIF; the same agent gives the same bytes."""
    from PIL import Image

    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    env = make(name, render_mode="rgb_array")
    pictures: list[np.ndarray] = []
    episode(env, choose, seed, lambda: pictures.append(env.render()))  # type: ignore[arg-type]
    env.close()
    milliseconds = 1000 // env.metadata["render_fps"]
    every = -(-len(pictures) // FRAMES)
    frames = [Image.fromarray(picture) for picture in pictures[::every]]
    for frame in frames:
        frame.thumbnail((WIDEST, WIDEST))
    palette = frames[0].quantize(COLOURS)
    first, *others = (f.quantize(palette=palette, dither=Image.Dither.NONE) for f in frames)
    first.save(path, save_all=True, append_images=others, duration=milliseconds * every, loop=0)


def play_in_window(name: str, choose: Choose, seed: int) -> float:
    """Play one episode before somebody's eyes; its return. Raises NoScreen where there is none."""
    seek_screen()
    env = make(name, render_mode="human")
    try:
        return episode(env, choose, seed, lambda: None)
    finally:
        env.close()


def seek_screen() -> None:
    """Raises NoScreen if SDL, which opens the window, finds none.

    Only SDL knows: a Mac sets no DISPLAY, and a DISPLAY may lead nowhere. Without a screen it draws
    into memory; that is an answer only for one who asked for a driver by name.
    """
    import pygame

    try:
        pygame.display.init()
    except pygame.error as error:
        raise NoScreen(f"there is no screen here ({error})") from error
    if not os.environ.get("SDL_VIDEODRIVER") and pygame.display.get_driver() == "offscreen":
        raise NoScreen("there is no screen here (SDL found none; DISPLAY names one, for example)")


def episode(env: Any, choose: Choose, seed: int, look: Callable[[], object]) -> float:
    """Play one episode, looking at every state."""
    seen, _ = env.reset(seed=seed)
    total, over = 0.0, False
    while not over:
        look()
        seen, reward, terminated, truncated, _ = env.step(choose(seen))
        total, over = total + float(reward), terminated or truncated
    look()
    return total
